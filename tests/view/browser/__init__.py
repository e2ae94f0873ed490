"""The viewer's page in real Chromium."""
