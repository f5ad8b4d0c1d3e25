"""Seesaw: which GAN objective trains well on my data, which fail, why, and what would repair them."""
