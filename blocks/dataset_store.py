"""The block that says where dataset versions are kept and how they are packaged.

Every Prefect server and worker imports this when it starts, so the engine is imported when a block
is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import Field, HttpUrl

from prefect_datasets.block_names import BLOCK_TYPE
from prefect_datasets.core.store_spec import StoreSpec
from prefect_datasets.settings import Settings

if TYPE_CHECKING:
    from prefect_datasets.core.cache.cache import Cache
    from prefect_datasets.core.publish.plan_version import Policy
    from prefect_datasets.core.store import Store

# In the order of the form.
PackagingChoice = Literal["metadata", "on", "off", "auto"]
# What its form accepts: a path, or a URL with :// after the scheme and a bucket where there are
# such. Who is refused is shown the pattern, so it begins with words, a branch that never matches.
_URL_PATTERN = (
    r"^(s3://BUCKET/PREFIX, gs://…, az://… or a folder(?!)"
    r"|(?!(s3a?|gc?s|az|abfss?|https?|file)(:(?!//)|//))(?!(s3a?|gc?s|az|abfss?)://(/|$))\S.*)$"
)
_CHOICES: dict[PackagingChoice, "bool | Literal['auto'] | None"] = {
    "metadata": None,
    "on": True,
    "off": False,
    "auto": "auto",
}


class DatasetStore(Block):
    """Where dataset versions and their packages are kept.

    Example:
        Load a saved store and publish to it:
        ```python
        from prefect_datasets import DatasetStore, publish_outputs

        store = DatasetStore.load("BLOCK_NAME")
        publish_outputs("my-outputs", store=store)
        ```
    """

    _block_type_name: ClassVar[str | None] = "Dataset Store"
    _block_type_slug: ClassVar[str | None] = BLOCK_TYPE
    # Prefect takes http addresses only, and a collection outside its site has no logo of its own.
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(
        "https://raw.githubusercontent.com/PrefectHQ/prefect/420d0d6a78bb6df1fc18bcf188fdad43c1d22ea9/assets/block-logos/filesystem.png"
    )
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl(
        "https://pypi.org/project/prefect-datasets/"
    )

    # The order of the fields is part of the schema: append new ones.
    url: str = Field(
        title="URL",
        min_length=1,
        description="Root of the store as an fsspec URL, such as s3://bucket/prefix.",
        # In the form alone: in Python a wrong URL is told when the store is opened.
        json_schema_extra={"pattern": _URL_PATTERN},
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        title="Options",
        description='Options of the fsspec filesystem, such as {"endpoint_url": "https://…"}.',
    )
    secrets: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Secret options",
        description='Options that are kept secret, such as {"key": "…", "secret": "…"}.',
    )
    packaging: PackagingChoice = Field(
        default="metadata",
        title="Packaging",
        description="Which new versions get packages: those whose metadata asks, all, none, or "
        "those with many small files.",
    )
    individual_files: bool = Field(
        default=True,
        title="Keep individual files",
        description="Store each file as an object of its own beside the packages.",
    )
    max_package_bytes: int = Field(
        default=1 << 30,
        ge=1,
        title="Largest package (bytes)",
        description="Most content bytes in one package; a larger file has a package to itself.",
    )
    cache_dir: str = Field(
        default="",
        title="Cache folder",
        description="Where resolved versions are kept on each machine; empty for the default.",
    )
    cache_bytes: int = Field(
        default=0,
        ge=0,
        title="Cache budget (bytes)",
        description="Most bytes in the cache, beyond which least used versions go; 0 for no limit.",
    )

    def spec(self) -> StoreSpec:
        """Return the store without opening it; the only place where secrets are revealed."""
        return StoreSpec(self.url, {**self.options, **self.secrets.get_secret_value()})

    def open(self) -> "Store":
        """Open the store; nothing is asked of it yet.

        Raises:
            InvalidInputError: The URL or an option is wrong.
        """
        return self.spec().open()

    def cache(self) -> "Cache":
        """Return this machine's cache of resolved versions."""
        from prefect_datasets.core.cache.cache import Cache  # noqa: PLC0415 - see the top

        root = Path(self.cache_dir).expanduser() if self.cache_dir else Settings.read().cache
        return Cache(root, max_bytes=self.cache_bytes or None)

    def check(self) -> None:
        """Try to reach the store and to write to it.

        Raises:
            DatasetError: It can't be used, and why: wrong URL, credentials, bucket or address.
        """
        self.open().check()

    def policy(
        self,
        *,
        packaging: bool | Literal["auto"] | None = None,
        individual_files: bool | None = None,
        max_package_bytes: int | None = None,
    ) -> "Policy":
        """Return how a new version is packaged; arguments win over the block.

        The packaging variable of the environment stands between the two.
        """
        from prefect_datasets.core.publish.plan_version import Policy  # noqa: PLC0415 - see the top

        switch = Settings.read().packaging_switch
        asked = packaging
        if packaging is None and switch is None:
            asked = _CHOICES[self.packaging]
        return Policy(
            packaging=asked,
            switch=switch,
            individual_files=self.individual_files
            if individual_files is None
            else individual_files,
            max_package_bytes=max_package_bytes or self.max_package_bytes,
        )
