package house

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/jackc/pgx/v5"

	"example.org/souk/gateway/devices"
	"example.org/souk/gateway/staff"
	"example.org/souk/internal/peers"
)

// Granted is what the role of a service, or of a gateway that is none, may do.
type Granted struct {
	Role string `json:"role"`
	// Owns is the schema that belongs to it, "" for a gateway without tables.
	Owns string `json:"owns"`
	// Reads are the services whose logs it may read; the console reads all tables but the keys themselves, the ways in
	// for staff, kiosks and devices the tables of what they show or go by.
	Reads []string `json:"reads"`
}

var roleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,30}$`)

// vaulted is the service whose own tables nobody else reads, not even the console; that sees only how it is.
const vaulted = "keys"

var watched = []string{"bb_log", "bb_head", "bb_parked", "bb_saga", "bb_call"}

// GrantRoles gives the tables of each service to a role of its own, PREFIX_SERVICE, which is made where it is missing, without a
// password. It may read, of other services, the logs, and how far their subscriptions are; what processes share, and the versions of
// tables, are open to all of them by way of the role PREFIX. Done again, it takes back what is not needed any more.
// The databases are those of Config.DB, whose user may make roles and grant what is theirs.
func (h *House) GrantRoles(ctx context.Context, prefix string) ([]Granted, error) {
	if !h.Several() {
		return nil, errors.New("roles are for PostgreSQL")
	}
	if !roleName.MatchString(prefix) {
		return nil, fmt.Errorf("%q cannot begin the names of roles: small letters, digits and _ can, up to 31", prefix)
	}
	shared, own, err := ParseDatabases(h.cfg.DB)
	if err != nil {
		return nil, err
	}
	for service, address := range own {
		if address == OverRPC {
			return nil, fmt.Errorf("the role of %s is made in its database: name it", service)
		}
	}
	plan := grants{prefix: prefix}
	for _, p := range h.Runtime.Parts() {
		plan.services = append(plan.services, p.Name)
	}
	here := map[string][]string{shared: nil} // services by the address of their database
	for _, service := range plan.services {
		address := shared
		if own[service] != "" {
			address = own[service]
		}
		here[address] = append(here[address], service)
	}
	for _, address := range slices.Sorted(maps.Keys(here)) {
		if err := plan.grant(ctx, address, here[address], address == shared); err != nil {
			return nil, fmt.Errorf("roles: %w", err)
		}
	}
	return plan.list(), nil
}

// grants say who may do what.
type grants struct {
	prefix   string
	services []string
}

func (g *grants) role(part string) string { return g.prefix + "_" + part }

func (g *grants) list() []Granted {
	list := []Granted{{Role: g.role(consolePart), Reads: g.seenBy(consolePart)}}
	for _, s := range g.services {
		reads := slices.DeleteFunc(slices.Clone(g.services), func(other string) bool { return other == s })
		if slices.Contains(onlookers, s) {
			reads = g.seenBy(s)
		}
		list = append(list, Granted{g.role(s), s, reads})
	}
	return list
}

// pages are the ways in that show what other services keep.
var pages = []string{consolePart, kioskPart, staff.ServiceName}

// onlookers are all parts that read tables which are not theirs: beside pages the way in of devices, which knows visitors by their cards and goods by
// their barcodes.
var onlookers = append(slices.Clone(pages), devices.ServiceName)

// seenBy lists the services whose tables a page shows, its own aside.
func (g *grants) seenBy(page string) []string { return shownBy(page, g.services) }

// shownBy lists those among the services whose tables a part reads that is not theirs.
func shownBy(part string, services []string) (list []string) {
	for _, s := range services {
		shown := false
		switch part {
		case consolePart:
			shown = s != vaulted
		case kioskPart:
			shown = slices.Contains(standsBehindKiosks, s)
		case staff.ServiceName:
			shown = s != part && (slices.Contains(followed, s) || s == summing)
		case devices.ServiceName:
			shown = s == "entrance" || s == "exitgate"
		}
		if shown {
			list = append(list, s)
		}
	}
	return list
}

// grant carries it out on one database, which holds the tables of these services, in one transaction.
func (g *grants) grant(ctx context.Context, address string, here []string, shared bool) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was asked that is not answered
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		b := &granting{grants: g, ctx: ctx, tx: tx}
		b.make(g.prefix, "NOLOGIN")
		for _, part := range append([]string{consolePart}, g.services...) {
			b.make(g.role(part), "LOGIN")
			b.do("GRANT %s TO %s", g.prefix, g.role(part))
		}
		if shared {
			b.share()
		}
		for _, service := range here {
			b.give(service)
		}
		return b.err
	})
}

// granting is the transaction of one database; after an error nothing more is done.
type granting struct {
	*grants
	ctx context.Context //nolint:containedctx // it lives as long as one call
	tx  pgx.Tx
	err error
}

// do runs a statement into which names are put, quoted.
func (b *granting) do(format string, names ...string) {
	if b.err != nil {
		return
	}
	quoted := make([]any, len(names))
	for i, n := range names {
		quoted[i] = pgx.Identifier{n}.Sanitize()
	}
	text := fmt.Sprintf(format, quoted...)
	if _, err := b.tx.Exec(b.ctx, text); err != nil {
		b.err = fmt.Errorf("%s: %w", text, err)
	}
}

// make makes a role exist. What one that exists may do otherwise is left alone.
func (b *granting) make(role, how string) {
	if b.err != nil {
		return
	}
	var exists bool
	if b.err = b.tx.QueryRow(b.ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role).Scan(&exists); b.err == nil && !exists {
		b.do("CREATE ROLE %s "+how, role)
	}
}

// tables lists those of a schema.
func (b *granting) tables(schema string) (list []string) {
	if b.err != nil {
		return nil
	}
	rows, err := b.tx.Query(b.ctx, "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1", schema)
	if err == nil {
		list, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	b.err = err
	return list
}

// share opens what all processes share: who runs what, the secrets by which they know each other and sign tokens, and the answers by
// idempotency key.
func (b *granting) share() {
	for _, schema := range []string{peers.Schema().Service, doorTables} {
		b.do("GRANT USAGE ON SCHEMA %s TO %s", schema, b.prefix)
		b.do("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s TO %s", schema, b.prefix)
	}
}

// Tables of a service that others read: what is to be migrated, how far its subscriptions are and where they joined, and its log.
var (
	openToAll      = []string{"bb_version", "bb_service_version", "bb_checkpoint", "bb_value"}
	openToServices = []string{"bb_log", "bb_head"} // a process reads those that its parts need under the role of one of them
)

// give gives a service's schema and tables to its role, and takes back from the others what they do not need.
func (b *granting) give(service string) {
	owner := b.role(service)
	b.do("ALTER SCHEMA %s OWNER TO %s", service, owner)
	tables := b.tables(service)
	for _, table := range tables {
		b.do("ALTER TABLE %s.%s OWNER TO %s", service, table, owner)
	}
	b.do("REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM PUBLIC, %s, %s", service, b.prefix, b.role(consolePart))
	b.do("GRANT USAGE ON SCHEMA %s TO %s", service, b.prefix)
	for _, other := range b.services {
		if other == service {
			continue
		}
		b.do("REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM %s", service, b.role(other))
		for _, table := range openToServices {
			b.do("GRANT SELECT ON %s.%s TO %s", service, table, b.role(other))
		}
	}
	for _, table := range openToAll {
		if slices.Contains(tables, table) {
			b.do("GRANT SELECT ON %s.%s TO %s", service, table, b.prefix)
		}
	}
	if service == vaulted {
		for _, table := range watched {
			b.do("GRANT SELECT ON %s.%s TO %s", service, table, b.role(consolePart))
		}
		return
	}
	for _, reader := range onlookers {
		if !slices.Contains(b.seenBy(reader), service) {
			continue
		}
		b.do("GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %s", service, b.role(reader))
		// Also on tables that the service makes later, as it does when a view is rebuilt.
		b.do("ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s GRANT SELECT ON TABLES TO %s", owner, service, b.role(reader))
	}
}
