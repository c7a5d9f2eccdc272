"""The service: models in over HTTP, solve and measure jobs in worker processes, results out.

app                     create_app(): the Flask application
models_api, jobs_api,   its endpoints; context: what they share
status_api
schemas                 what a request may hold
problems                every error as problem+json (RFC 9457)
store, records          models and jobs in SQLite, and as values
uploads                 model files
work, inputs            the only modules that call the planner and the bench
worker                  what runs in a worker process
pool                    keeps worker processes alive
dev, cli                `edgecut server dev`
config, errors
"""
