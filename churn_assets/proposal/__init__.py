"""From a file of customers to a proposed specification, each part of it proven by the values or said to be a guess."""

from churn_assets.proposal.document import as_yaml
from churn_assets.proposal.specification import Proposal, propose

__all__ = ["Proposal", "as_yaml", "propose"]
