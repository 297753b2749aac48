"""What a trained run is for: answers, a merged model, a checklist."""
