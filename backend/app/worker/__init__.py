"""The Celery application: `celery -A app.worker worker` and `celery -A app.worker beat`."""
