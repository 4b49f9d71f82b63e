package backbonetest

// Crashing reports whether the world's process counts as dead.
func (w *World) Crashing() bool {
	r := w.runs.Load()
	return r == nil || r.store.dead.Load()
}
