package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"example.org/souk/backbone"
	"example.org/souk/internal/house"
)

type contractsCommand struct {
	Export contractsExport `cmd:"" help:"Write the contracts of all services: AsyncAPI and JSON Schemas."`
	Check  contractsCheck  `cmd:"" help:"Compare the contracts with those that were exported before."`
}

type contractsExport struct {
	Dir string `arg:"" type:"path" help:"Made where it does not exist."`
}

// Help implements kong's long help.
func (contractsExport) Help() string {
	return `Example:
  souk contracts export ./contracts

It writes asyncapi.json (AsyncAPI 3.0) and schemas/NAME.json (JSON Schema 2020-12)
for each event and command that crosses a service's border. The same program
writes the same bytes, so that a difference in a repository is a change of a
contract. It needs no data directory.`
}

// Run writes the files.
func (c *contractsExport) Run(env Env, r *root) error {
	files, err := contracts(env)
	if err != nil {
		return err
	}
	t := newTable(env.Stdout, r.Output)
	for _, f := range files {
		name := filepath.Join(c.Dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // contracts are for everybody to read
			return err
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil { //nolint:gosec // likewise
			return err
		}
		if err := t.add(contractRow{f.Path, "written"}); err != nil {
			return err
		}
	}
	return t.end()
}

type contractsCheck struct {
	Dir string `arg:"" type:"existingdir" help:"Where they were exported to."`
}

// Help implements kong's long help.
func (contractsCheck) Help() string {
	return `Example:
  souk contracts check ./contracts

It lists each file that is missing, is changed, or is of no contract any more, and
exits with 1 if there is one.`
}

// Run compares the files.
func (c *contractsCheck) Run(env Env, r *root) error {
	files, err := contracts(env)
	if err != nil {
		return err
	}
	t := newTable(env.Stdout, r.Output)
	differ := false
	tell := func(path, state string) error {
		differ = true
		return t.add(contractRow{path, state})
	}
	known := map[string]bool{}
	for _, f := range files {
		known[f.Path] = true
		data, err := os.ReadFile(filepath.Join(c.Dir, filepath.FromSlash(f.Path)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = tell(f.Path, "missing")
		case err == nil && !bytes.Equal(data, f.Data):
			err = tell(f.Path, "changed")
		}
		if err != nil {
			return err
		}
	}
	there, err := filepath.Glob(filepath.Join(c.Dir, "schemas", "*.json"))
	if err != nil {
		return err
	}
	for _, name := range there {
		if p := path.Join("schemas", filepath.Base(name)); !known[p] {
			if err := tell(p, "of no contract"); err != nil {
				return err
			}
		}
	}
	if err := t.end(); err != nil {
		return err
	}
	if differ {
		return errors.New("the contracts are not those that were exported; if that is meant, export them again")
	}
	return nil
}

type contractRow struct {
	File  string `json:"file"`
	State string `json:"state"`
}

func contracts(env Env) ([]backbone.ContractFile, error) {
	return backbone.Contracts(house.Parts(house.Ports{}, env.Added...), backbone.ContractInfo{
		Title: "souk", Version: "1", Description: "Events and commands of the mall.", Prefix: "souk",
	})
}

// add writes a row that was made here.
func (t *table) add(row any) error {
	data, err := json.Marshal(row)
	if err != nil {
		return err
	}
	return t.row(data)
}
