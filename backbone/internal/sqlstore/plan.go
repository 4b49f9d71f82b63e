package sqlstore

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
)

// Pending is a migration that was not applied to a database.
type Pending struct {
	Service string
	Own     bool   // of the backbone's own tables, not of the service's
	File    string // NNNN_name.sql
}

// MigrationSet is a list of migrations with a table of versions of its own.
type MigrationSet struct {
	Own      bool
	Files    fs.FS
	Versions string // OwnVersions or ServiceVersions
}

// Plan lists what is to be applied of a service's migrations, in their order. applied returns what a table of versions holds,
// nothing where there is no such table.
func Plan(service string, sets []MigrationSet, applied func(versions string) ([]int64, error)) ([]Pending, error) {
	var list []Pending
	for _, set := range sets {
		done, err := applied(set.Versions)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", service, err)
		}
		names, err := fs.Glob(set.Files, "*.sql")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			version, err := goose.NumericComponent(name)
			if err != nil {
				return nil, fmt.Errorf("migration %s of %s: %w", name, service, err)
			}
			if !slices.Contains(done, version) {
				list = append(list, Pending{service, set.Own, name})
			}
		}
	}
	return list, nil
}
