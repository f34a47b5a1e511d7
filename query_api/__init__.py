"""The query consumer: the view of the index, the pipeline's steps, and the Faust wiring."""
