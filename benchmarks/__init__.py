"""What botguard costs, as ratios within one run: ``python -m benchmarks [--quick] [--only NAME]``."""
