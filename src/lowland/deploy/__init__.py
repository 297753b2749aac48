"""Uses of a trained run: answers, a merged model, a checklist."""
