package kiosk

func (g *gateway) showPages() error { return nil }
