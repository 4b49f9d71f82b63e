package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
)

// Names of the tables in which goose keeps the versions of the backbone's own
// migrations and of a service's.
const (
	OwnVersions     = "bb_version"
	ServiceVersions = "bb_service_version"
)

//go:embed migrations/*.sql
var ownMigrations embed.FS

// newIndex finds the name of an index that is created. One that is dropped is named like a table.
var newIndex = regexp.MustCompile(`CREATE (?:UNIQUE )?INDEX (\{[a-z_]+\})`)

// OwnMigrations returns the migrations of the backbone's own tables. types says
// what a column type in angle brackets is in the database, table and index give
// real names; extra holds files that only this database needs.
func OwnMigrations(types *strings.Replacer, table, index func(string) string, extra fs.FS) (fs.FS, error) {
	own, err := fs.Sub(ownMigrations, "migrations")
	if err != nil {
		return nil, err
	}
	return rewrite(func(s string) (string, error) {
		s = newIndex.ReplaceAllStringFunc(types.Replace(s), func(s string) string { return Expand(s, index) })
		return Expand(s, table), nil
	}, own, extra)
}

// ServiceMigrations returns a service's migrations with real names for those in
// braces.
func ServiceMigrations(name func(string) string, migrations fs.FS) (fs.FS, error) {
	return rewrite(func(s string) (string, error) { return Expand(s, name), mistaken(s) }, migrations)
}

// mistaken finds what would go wrong in silence with a service's migration: without its mark goose runs nothing of it and notes it as
// run, and a table without braces is nobody's own, so the service would look for another one.
func mistaken(text string) error {
	if !upLine.MatchString(text) {
		return fmt.Errorf("it has no line %q, and nothing of it would run", upMark)
	}
	if m := bareTable.FindStringSubmatch(comment.ReplaceAllString(text, "")); m != nil {
		return fmt.Errorf("it names table %s without braces: write {%[1]s}", m[1])
	}
	return nil
}

var (
	upLine    = regexp.MustCompile(`(?mi)^\s*--\s*\+goose\s+up\b`)
	comment   = regexp.MustCompile(`(?m)--.*$`)
	bareTable = regexp.MustCompile(`(?i)\b(?:CREATE|ALTER|DROP)\s+TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?"?(\w+)`)
)

// Up brings a database up to date with the migrations in files. locker may be nil.
func Up(ctx context.Context, dialect goose.Dialect, db *sql.DB, files fs.FS, versions string, locker lock.SessionLocker) error {
	options := []goose.ProviderOption{
		goose.WithTableName(versions),
		goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()),
	}
	if locker != nil {
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db, files, options...)
	if errors.Is(err, goose.ErrNoMigrations) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Export returns the migrations in files as plain SQL for a tool of the program's
// own: a file a version, named as before. Each file notes its version in the table
// versions, so that Up finds applied what the tool has run; preface comes first of
// all. The marks of goose stay as the comments that they are, so goose is one of
// those tools.
func Export(dialect goose.Dialect, files fs.FS, versions, preface string) (fs.FS, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	table, err := versionTable(dialect, versions)
	if err != nil {
		return nil, err
	}
	out := flat{}
	for i, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		up, _, _ := strings.Cut(string(text), downMark)
		up = strings.TrimSpace(strings.Replace(up, upMark, "", 1))
		note := func(version int64) string {
			return fmt.Sprintf("INSERT INTO %s (version_id, is_applied) VALUES (%d, TRUE);\n", versions, version)
		}
		var b strings.Builder
		b.WriteString(upMark + "\n")
		if i == 0 {
			b.WriteString(preface + table + ";\n" + note(0) + "\n")
		}
		b.WriteString(up + "\n\n" + note(version))
		out[name] = []byte(b.String())
	}
	return out, nil
}

// The marks that goose looks for.
const (
	upMark   = "-- +goose Up"
	downMark = "-- +goose Down"
)

// Join returns files as one text, in order.
func Join(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), nil
}

// versionTable returns the statement with which goose creates its table.
func versionTable(dialect goose.Dialect, name string) (string, error) {
	store, err := database.NewStore(dialect, name)
	if err != nil {
		return "", err
	}
	var r recorder
	if err := store.CreateVersionTable(context.Background(), &r); err != nil {
		return "", err
	}
	return r.sql, nil
}

// recorder keeps the statement that it is asked to run.
type recorder struct {
	database.DBTxConn
	sql string
}

func (r *recorder) ExecContext(_ context.Context, text string, _ ...any) (sql.Result, error) {
	r.sql = text
	return driver.RowsAffected(0), nil
}

// rewrite returns the SQL files of the sources as one flat file system, each
// with its text changed.
func rewrite(change func(string) (string, error), sources ...fs.FS) (fs.FS, error) {
	out := flat{}
	for _, source := range sources {
		if source == nil {
			continue
		}
		err := fs.WalkDir(source, ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(p) != ".sql" {
				return err
			}
			text, err := fs.ReadFile(source, p)
			if err != nil {
				return err
			}
			base := path.Base(p)
			// goose passes over a file whose name tells no version, in silence.
			if _, err := goose.NumericComponent(base); err != nil {
				return fmt.Errorf("the migration %s has no name of the form NNNN_name.sql: %w", p, err)
			}
			if _, twice := out[base]; twice {
				return fmt.Errorf("two migrations are named %s", base)
			}
			changed, err := change(string(text))
			if err != nil {
				return fmt.Errorf("the migration %s: %w", p, err)
			}
			out[base] = []byte(changed)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
	}
	return out, nil
}

// flat is a file system in memory without folders.
type flat map[string][]byte

func (f flat) Open(name string) (fs.File, error) {
	if name == "." {
		return &folder{entries: f.entries()}, nil
	}
	data, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{info: info{name, int64(len(data))}, Reader: bytes.NewReader(data)}, nil
}

func (f flat) entries() []fs.DirEntry {
	var entries []fs.DirEntry
	for name, data := range f {
		entries = append(entries, fs.FileInfoToDirEntry(info{name, int64(len(data))}))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

// ReadDir implements fs.ReadDirFS.
func (f flat) ReadDir(string) ([]fs.DirEntry, error) { return f.entries(), nil }

type file struct {
	info
	*bytes.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Size() int64                { return f.info.size }
func (f *file) Close() error               { return nil }

type folder struct{ entries []fs.DirEntry }

func (d *folder) Stat() (fs.FileInfo, error) { return info{name: "."}, nil }
func (d *folder) Read([]byte) (int, error)   { return 0, fs.ErrInvalid }
func (d *folder) Close() error               { return nil }

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.entries)
	} else if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	out := d.entries[:n]
	d.entries = d.entries[n:]
	return out, nil
}

type info struct {
	name string
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.name == "." }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir | 0o500
	}
	return 0o400
}
