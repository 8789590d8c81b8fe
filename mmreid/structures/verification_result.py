from dataclasses import dataclass

from torch import Tensor

__all__ = ['VerificationResult']


@dataclass
class VerificationResult:
    """How well one threshold on the distance tells persons apart.

    A pair of query and gallery image is positive if both show one person,
    otherwise negative; what the camera rule ignores is neither.

    Attributes:
        num_positive (int): Positive pairs, P.
        num_negative (int): Negative pairs, N.
        tpr (dict[float, float]): Of each asked false positive rate, the
            share of the positive pairs within its threshold, in 0..1.
        threshold (dict[float, float]): Of each asked false positive rate,
            the largest distance within which at most that share of the
            negative pairs lies.
        auc (float): Area under the ROC curve, in 0..1: how often a positive
            pair is nearer than a negative one, ties counted half. Exact.
        false_positives (Tensor): The ROC curve: how many negative pairs are
            as near as the i-th nearest positive pair, or nearer. Shape (P,),
            int64, ascending.
        bin_edges (Tensor): Edges of equal bins from the least to the largest
            distance. Shape (num_bins + 1,).
        positive_counts (Tensor): Positive pairs in each bin; as in numpy, an
            upper edge belongs to the next bin, but the last to the last.
            Shape (num_bins,), int64.
        negative_counts (Tensor): Negative pairs in each bin. Shape
            (num_bins,), int64.
    """

    num_positive: int
    num_negative: int
    tpr: dict[float, float]
    threshold: dict[float, float]
    auc: float
    false_positives: Tensor
    bin_edges: Tensor
    positive_counts: Tensor
    negative_counts: Tensor

    def summary(self) -> dict[str, float]:
        """The figures to report.

        Returns:
            dict[str, float]: ``TPR@FPR=...`` of each asked false positive
            rate, and ``AUC``, in percent.
        """
        result = {
            f'TPR@FPR={fpr:g}': 100.0 * tpr for fpr, tpr in self.tpr.items()
        }
        return result | {'AUC': 100.0 * self.auc}
