"""The releases table: records, locks and holds. The modules decide nothing."""
