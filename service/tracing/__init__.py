"""OpenTelemetry's spans of requests, runs and calls; nothing of it is imported where no collector is configured."""
