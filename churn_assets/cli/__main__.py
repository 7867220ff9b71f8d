"""``python -m churn_assets.cli``, for where no script is installed."""

from churn_assets.cli.app import main

main()
