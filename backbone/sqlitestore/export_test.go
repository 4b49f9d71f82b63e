package sqlitestore

// Connect opens one more connection of a store, with a pragma, and closes it.
func (s *Store) Connect(pragma string) error {
	c, err := s.connect(pragma)
	if err != nil {
		return err
	}
	return c.close()
}
