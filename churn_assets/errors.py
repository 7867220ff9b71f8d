"""Every error that churn_assets raises on purpose.

    ChurnAssetsError
    ├── SpecError        a pipeline's YAML is wrong           (also a ValueError)
    ├── MonthError       a text is no month, or out of range  (also a ValueError)
    ├── SourceError      raw data could not be read           (also an OSError)
    ├── MissingMonth     a window's month isn't in the lake   (also a LookupError)
    ├── LakeError        a table in the lake can't be used    (also a RuntimeError)
    ├── OnlineStoreError the online store can't be used       (also a RuntimeError)
    ├── QualityError     data breaks the rules it must keep   (also a ValueError)
    ├── FeatureError     a function of features failed        (also a RuntimeError)
    ├── EngineError      a cluster can't be used              (also a RuntimeError)
    ├── LearningError    a model can't be trained or applied  (also a RuntimeError)
    │   └── EvidenceError    too few rows, or one class, to learn from
    ├── TrackingError    MLflow can't be reached or used      (also a ConnectionError)
    ├── AlertError       people couldn't be told of something (also an OSError)
    └── SettingsError    the installation is set up wrongly   (also a ValueError)

A message reads: what happened to what, what was expected, what was found, what to do.
"""


class ChurnAssetsError(Exception):
    """The root of all errors that churn_assets raises on purpose.

    Attributes:
        transient: whether the same may succeed by and by with nobody doing anything, as with a server that is down.
    """

    def __init__(self, *told: object, transient: bool = False) -> None:
        super().__init__(*told)
        self.transient = transient


class SpecError(ChurnAssetsError, ValueError):
    """A pipeline's specification is wrong; the message lists every finding."""


class MonthError(ChurnAssetsError, ValueError):
    """A text is no month of the form YYYY-MM, or a month lies outside the pipeline's range."""


class SourceError(ChurnAssetsError, OSError):
    """Raw data could not be read from its source; nothing was ingested."""


class MissingMonth(ChurnAssetsError, LookupError):
    """A month that a stage must read isn't in the lake."""


class LakeError(ChurnAssetsError, RuntimeError):
    """A table in the lake is damaged, or was asked for something that it doesn't hold."""


class OnlineStoreError(ChurnAssetsError, RuntimeError):
    """The online store can't be reached or used, or can't take the rows it was given."""


class QualityError(ChurnAssetsError, ValueError):
    """Data breaks the rules that it must keep for the work to go on."""


class FeatureError(ChurnAssetsError, RuntimeError):
    """A function that computes features failed, or gave something else than it was declared to give."""


class EngineError(ChurnAssetsError, RuntimeError):
    """The engine that a pipeline declares isn't installed, can't be reached, or failed."""


class LearningError(ChurnAssetsError, RuntimeError):
    """A model can't be trained on, or applied to, the data that it was given."""


class EvidenceError(LearningError):
    """The rows are too few, or all of one class, to learn from."""


class TrackingError(ChurnAssetsError, ConnectionError):
    """MLflow can't be reached, or its store can't be used; nothing that was decided holds before it is tracked."""


class AlertError(ChurnAssetsError, OSError):
    """A channel couldn't tell people of an alert, or what was told can't be remembered."""


class SettingsError(ChurnAssetsError, ValueError):
    """The installation is set up wrongly."""
