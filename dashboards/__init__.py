"""Grafana dashboards and Prometheus rules, made from one source."""
