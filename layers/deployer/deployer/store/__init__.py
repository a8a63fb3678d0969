"""The releases table: records, locks and holds. It decides nothing."""
