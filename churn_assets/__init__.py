"""churn_assets: a customer-churn data platform on Dagster."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ChurnPipeline", "__version__"]

if TYPE_CHECKING:
    from churn_assets.component import ChurnPipeline


def __getattr__(name: str) -> Any:
    """Imports the component when it is asked for, so that the pure packages never load Dagster."""
    if name == "ChurnPipeline":
        from churn_assets.component import ChurnPipeline

        return ChurnPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
