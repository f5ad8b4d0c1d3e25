"""The model registry as a projection of champion.json: aliases `champion`, `previous`, `challenger`, each on a version of the same digest.

A version is identified by its tag `model`. What the aliases say is decided by champion.json alone: a registry that was lost, or moved by
hand, is brought back by the next `seesaw sync` or `seesaw promote`. Hold the lock `sync` and wrap calls in `speaking`.
"""

import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.store.champion import Kept
from stages.store.tracking import Store

ALIASES = ("champion", "challenger", "previous")
PACKAGES = ("mlflow", "torch", "numpy", "safetensors")  # all that the served file imports


def project(store: Store, held: Mapping[str, Kept]) -> str:
    """Make the aliases those of `held`; what they are now, in one line."""
    name = store.client.get_experiment(store.experiment).name
    register(store, name)
    versions = {alias: version_of(store, name, held[alias]) for alias in ALIASES if alias in held}
    present = dict(store.client.get_registered_model(name).aliases)
    for alias, version in versions.items():
        if str(present.get(alias)) != version:
            store.client.set_registered_model_alias(name, alias, version)
    for alias in set(ALIASES) & present.keys() - versions.keys():
        store.client.delete_registered_model_alias(name, alias)
    return ", ".join(f"models:/{name}@{alias} is version {version} ({held[alias].entry['variant']})" for alias, version in versions.items())


def register(store: Store, name: str) -> None:
    """The registered model of that name, created when missing."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name, description="Generators that passed the gate; champion.json decides.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def version_of(store: Store, name: str, kept: Kept) -> str:
    """The version with this model, created when missing; its files are sent again where they are gone."""
    found = [one for one in store.client.search_model_versions(f"name='{name}'") if one.tags.get("model") == kept.entry["model"]]
    if found:
        version = min(found, key=lambda one: int(one.version))
        if not store.client.list_logged_model_artifacts(version.tags["logged_model"]):
            upload(store, version.tags["logged_model"], kept)
        return str(version.version)
    logged = store.client.create_logged_model(store.experiment, name=kept.entry["variant"], model_type="generator", tags=tags_of(kept))
    upload(store, logged.model_id, kept)
    store.client.finalize_logged_model(logged.model_id, "READY")
    tags = {**tags_of(kept), "logged_model": logged.model_id}
    with pointed(store.uri):
        created = store.client.create_model_version(name, f"models:/{logged.model_id}", tags=tags, model_id=logged.model_id)
    return str(created.version)


@contextmanager
def pointed(uri: str) -> Iterator[None]:
    """MLflow's own idea of the store is `uri`: a local registry looks a model up there, whatever client asks it."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # this takes the variable away too
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def tags_of(kept: Kept) -> dict[str, str]:
    """What a version says of itself."""
    return {key: str(kept.entry[key]) for key in ("model", "fingerprint", "variant", "lane", "step")}


def upload(store: Store, model_id: str, kept: Kept) -> None:
    """The model's folder as MLflow keeps it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save(folder, kept)
        store.client.log_model_artifacts(model_id, str(folder))


def save(folder: Path, kept: Kept) -> None:
    """A pyfunc model from code: the served file, the program and the deployed lane's weights; no pickle, nothing of this project."""
    import numpy
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    from stages.store import deployable, served

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # a line for every example it validates
    made, lane = kept.load(), kept.entry["lane"]
    image = made.description["kind"] == "image"
    item = TensorSpec(numpy.dtype("uint8" if image else "float32"), (-1, *made.description["shape"]))
    asked = Schema([ColSpec(DataType.long, "n"), ColSpec(DataType.long, "seed")])
    pyfunc.save_model(
        str(folder),
        python_model=served.__file__,
        artifacts={"program": str(kept.folder / deployable.PROGRAM), "weights": str(kept.folder / deployable.weights_file(lane))},
        signature=ModelSignature(inputs=asked, outputs=Schema([item])),
        input_example=example(),
        pip_requirements=[f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in PACKAGES],
    )


def example() -> Any:
    """The request that comes with a model."""
    import pandas

    return pandas.DataFrame({"n": [4], "seed": [0]})
