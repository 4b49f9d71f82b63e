package sqlstore

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

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

// Plan lists what is to be applied of a service's migrations, in their order, and reports whether none of them was. applied
// returns what a table of versions holds, nothing where there is no such table.
func Plan(service string, sets []MigrationSet, applied func(versions string) ([]int64, error)) (lacks []Pending, isNew bool, err error) {
	isNew = true
	for _, set := range sets {
		done, err := applied(set.Versions)
		if err != nil {
			return nil, false, fmt.Errorf("plan %s: %w", service, err)
		}
		isNew = isNew && len(done) == 0
		names, err := fs.Glob(set.Files, "*.sql")
		if err != nil {
			return nil, false, err
		}
		for _, name := range names {
			version, err := goose.NumericComponent(name)
			if err != nil {
				return nil, false, fmt.Errorf("migration %s of %s: %w", name, service, err)
			}
			if !slices.Contains(done, version) {
				lacks = append(lacks, Pending{service, set.Own, name})
			}
		}
	}
	return lacks, isNew, nil
}

// Script returns all migrations of sets as one text, in their order, which notes their versions. table names a table of
// versions.
func Script(dialect goose.Dialect, sets []MigrationSet, table func(versions string) string) (string, error) {
	var all strings.Builder
	for _, set := range sets {
		files, err := Export(dialect, set.Files, table(set.Versions), "")
		if err != nil {
			return "", err
		}
		text, err := Join(files)
		if err != nil {
			return "", err
		}
		all.WriteString(text)
	}
	return all.String(), nil
}
