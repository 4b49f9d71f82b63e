package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.org/souk/backbone"
	"example.org/souk/backbone/driver"
)

// Source is what a scrape reads of a database. Every driver.Store is one.
type Source interface {
	// Name and Query read the backbone's own tables of a service.
	Name(service, table string) string
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
	Head(ctx context.Context, service string) (int64, error)
	Read(ctx context.Context, service string, q driver.ReadQuery) ([]driver.Record, error)
	Checkpoints(ctx context.Context, service, subscription string) ([]driver.Checkpoint, error)
	backbone.Values
}

// CollectorConfig says what is read. Parts and Source are required.
type CollectorConfig struct {
	// Parts is the parts list of the runtime.
	Parts []*backbone.Service
	// Source returns the database of a service, nil where it cannot be reached from
	// here. Such a service is left out.
	Source func(service string) Source
	// Backlogs tells what subscriptions have not settled where a broker and not the
	// logs says so. It may be nil; a driver.Backlogger's method is such a function.
	Backlogs func(ctx context.Context) ([]driver.Backlog, error)
	// Clock is what ages are measured by; default time.Now.
	Clock func() time.Time
	// Timeout bounds one scrape; default 5 s.
	Timeout time.Duration
	// Logger hears of what could not be read; default slog.Default().
	Logger *slog.Logger
}

// counted is how many records behind a checkpoint a scrape looks at; beyond that
// it estimates by their share.
const counted = 2000

// carried are the kinds of records that travel to subscriptions.
var carried = []driver.Kind{driver.KindEvent, driver.KindCommand, driver.KindReply}

// Collector is a prometheus.Collector that reads the databases when it is scraped.
// What it shows is true for all processes that use them, so one of them is enough
// to be scraped.
type Collector struct {
	cfg  CollectorConfig
	subs []reading
}

// reading is a subscription as far as its lag goes.
type reading struct {
	service, name string
	keyed         bool // its slices belong to other keys than the streams
	all           bool // it takes everything that travels
	interests     []driver.Interest
}

var (
	descUp        = desc("souk_store_up", "Whether the service's database could be read for this scrape.", "service")
	descHead      = desc("souk_log_head_position", "Position of the last committed record of the service's log.", "service")
	descLag       = desc("souk_consumer_lag_messages", "Committed messages that the subscription has not settled; an estimate above 2000.", "service", "subscription", "source")
	descLagAge    = desc("souk_consumer_lag_seconds", "Age of the oldest message that the subscription has not settled.", "service", "subscription", "source")
	descParked    = desc("souk_parked_messages", "Parked messages by state: retrying, waiting behind another of their key, dead.", "service", "subscription", "state")
	descParkedAge = desc("souk_parked_oldest_age_seconds", "Time since the oldest parked message in this state was parked.", "service", "subscription", "state")
	descHeld      = desc("souk_relay_held_streams", "Streams of the service's log of which nothing is published from a record on that is too large for the broker.", "service")
	descHeldAge   = desc("souk_relay_held_oldest_age_seconds", "Time since the oldest of them was held back.", "service")
	descCalls     = desc("souk_calls_waiting", "Outside calls that have no outcome yet.", "service", "call")
	descCallsAge  = desc("souk_calls_oldest_age_seconds", "Time since the oldest waiting call was asked for.", "service", "call")
	descSagas     = desc("souk_sagas", "Sagas that have not ended, by state.", "service", "saga", "state")
	descSagasAge  = desc("souk_saga_oldest_age_seconds", "Time since the oldest saga in this state began.", "service", "saga", "state")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// NewCollector returns a collector; register it with a prometheus.Registerer.
func NewCollector(c CollectorConfig) (*Collector, error) {
	if c.Parts == nil || c.Source == nil {
		return nil, errors.New("telemetry.CollectorConfig needs Parts and a Source")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Backlogs != nil {
		return &Collector{cfg: c, subs: relays(c.Parts)}, nil
	}
	return &Collector{cfg: c, subs: readings(backbone.Describe(c.Parts))}, nil
}

// relays lists the relays of a parts list, which read all that travels.
func relays(parts []*backbone.Service) (list []reading) {
	for _, p := range parts {
		list = append(list, reading{service: p.Name, name: backbone.RelayName, all: true, interests: []driver.Interest{{Source: p.Name}}})
	}
	return list
}

// readings lists the subscriptions that a runtime has for a parts list.
func readings(m backbone.Map) []reading {
	var list []reading
	for _, s := range m.Services {
		own := reading{service: s.Name, name: s.Name}
		types := byOwner(s.Subscribes)
		for _, source := range m.Services {
			in := driver.Interest{Source: source.Name, Types: types[source.Name]}
			if m.Listens(s.Name, source.Name) {
				in.Addressed = s.Name
			}
			if in.Addressed != "" || len(in.Types) > 0 {
				own.interests = append(own.interests, in)
			}
		}
		list = append(list, own)
		for _, v := range s.Views {
			if v.Inline {
				continue
			}
			view := reading{service: s.Name, name: "view-" + v.Name, keyed: v.Keyed}
			types := byOwner(v.Events)
			for _, source := range m.Services {
				if len(types[source.Name]) > 0 {
					view.interests = append(view.interests, driver.Interest{Source: source.Name, Types: types[source.Name]})
				}
			}
			list = append(list, view)
		}
	}
	return list
}

func byOwner(subs []backbone.MapSubscription) map[string][]string {
	types := map[string][]string{}
	for _, sub := range subs {
		if !slices.Contains(types[sub.Owner], sub.Event) {
			types[sub.Owner] = append(types[sub.Owner], sub.Event)
		}
	}
	return types
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descHead, descLag, descLagAge, descParked, descParkedAge, descHeld, descHeldAge, descCalls, descCallsAge, descSagas, descSagasAge,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector. A service that cannot be read shows as
// souk_store_up 0 and not otherwise.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	heads := c.heads(ctx)
	for service, head := range heads {
		gauge(out, descHead, float64(head), service)
	}
	for _, s := range c.cfg.Parts {
		source := c.cfg.Source(s.Name)
		if source == nil {
			continue
		}
		if err := c.service(ctx, out, source, s.Name, heads); err != nil {
			c.cfg.Logger.Warn("a service's database could not be read for metrics", "service", s.Name, "error", err)
			gauge(out, descUp, 0, s.Name)
			continue
		}
		gauge(out, descUp, 1, s.Name)
	}
	waiting, err := c.backlogs(ctx)
	if err != nil {
		c.cfg.Logger.Warn("the broker could not be asked for metrics", "error", err)
	}
	for _, l := range waiting {
		gauge(out, descLag, l.Messages, l.Service, l.Subscription, l.Source)
	}
}

// heads reads the heads of the logs, of those that can be read.
func (c *Collector) heads(ctx context.Context) map[string]int64 {
	heads := map[string]int64{}
	for _, s := range c.cfg.Parts {
		if source := c.cfg.Source(s.Name); source != nil {
			if head, err := source.Head(ctx, s.Name); err == nil {
				heads[s.Name] = head
			}
		}
	}
	return heads
}

// Lag is what a subscription has not settled of one service's log.
type Lag struct {
	Service, Subscription, Source string
	Messages                      float64       // an estimate above 2000
	Oldest                        time.Duration // age of the oldest of them
}

// Lags reads what every subscription that has ever run has not settled: the values
// of souk_consumer_lag_messages and souk_consumer_lag_seconds, for who is no
// Prometheus.
func (c *Collector) Lags(ctx context.Context) ([]Lag, error) {
	var all []Lag
	heads := c.heads(ctx)
	for i := range c.subs {
		sub := &c.subs[i]
		source := c.cfg.Source(sub.service)
		if source == nil {
			continue
		}
		stored, err := source.Checkpoints(ctx, sub.service, sub.name)
		if err != nil {
			return nil, err
		}
		list, err := c.lags(ctx, sub, stored, heads)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	list, err := c.backlogs(ctx)
	return append(all, list...), err
}

// atBroker stands for the source of what waits at a broker, which does not tell from whose log it is.
const atBroker = "broker"

// backlogs asks the broker, if there is one.
func (c *Collector) backlogs(ctx context.Context) (list []Lag, err error) {
	if c.cfg.Backlogs == nil {
		return nil, nil
	}
	waiting, err := c.cfg.Backlogs(ctx)
	if err != nil {
		return nil, fmt.Errorf("backlog at the broker: %w", err)
	}
	for _, b := range waiting {
		list = append(list, Lag{Service: b.Service, Subscription: b.Subscription, Source: atBroker, Messages: float64(b.Messages)})
	}
	return list, nil
}

func (c *Collector) service(ctx context.Context, out chan<- prometheus.Metric, source Source, service string, heads map[string]int64) error {
	if _, ok := heads[service]; !ok {
		return errors.New("its log has no head")
	}
	for _, rows := range []struct {
		count, age *prometheus.Desc
		sql        string
		labels     int
	}{
		{descParked, descParkedAge, "SELECT subscription, state, count(*), min(time) FROM " + source.Name(service, "bb_parked") + " GROUP BY subscription, state", 2},
		{descCalls, descCallsAge, "SELECT name, '', count(*), min(created) FROM " + source.Name(service, "bb_call") + " GROUP BY name", 1},
		{descSagas, descSagasAge, "SELECT name, state, count(*), min(started) FROM " + source.Name(service, "bb_saga") +
			" WHERE state NOT IN ('completed', 'compensated') GROUP BY name, state", 2},
	} {
		if err := c.counts(ctx, out, source, service, rows.sql, rows.labels, rows.count, rows.age); err != nil {
			return err
		}
	}
	if err := c.held(ctx, out, source, service); err != nil {
		return err
	}
	stored, err := source.Checkpoints(ctx, service, "")
	if err != nil {
		return err
	}
	for i := range c.subs {
		if sub := &c.subs[i]; sub.service == service {
			lags, err := c.lags(ctx, sub, stored, heads)
			if err != nil {
				return err
			}
			for _, l := range lags {
				gauge(out, descLag, l.Messages, l.Service, l.Subscription, l.Source)
				gauge(out, descLagAge, l.Oldest.Seconds(), l.Service, l.Subscription, l.Source)
			}
		}
	}
	return nil
}

// held shows what the relay holds back, where there is one.
func (c *Collector) held(ctx context.Context, out chan<- prometheus.Metric, source Source, service string) error {
	if c.cfg.Backlogs == nil {
		return nil
	}
	held, err := backbone.HeldByRelay(ctx, source, service)
	if err != nil {
		return err
	}
	gauge(out, descHeld, float64(len(held)), service)
	if len(held) > 0 {
		gauge(out, descHeldAge, c.age(held[0].Since.UnixMicro()), service)
	}
	return nil
}

// counts shows the rows of a query: two names, a number, the oldest time.
func (c *Collector) counts(ctx context.Context, out chan<- prometheus.Metric, source Source, service, sql string, labels int, count, age *prometheus.Desc) (err error) {
	rows, err := source.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var names [2]string
		var n, oldest int64
		if err := rows.Scan(&names[0], &names[1], &n, &oldest); err != nil {
			return err
		}
		values := append([]string{service}, names[:labels]...)
		gauge(out, count, float64(n), values...)
		gauge(out, age, c.age(oldest), values...)
	}
	return rows.Err()
}

// lags counts what lies behind the checkpoints of a subscription.
func (c *Collector) lags(ctx context.Context, sub *reading, stored []driver.Checkpoint, heads map[string]int64) (list []Lag, err error) {
	for _, in := range sub.interests {
		log := c.cfg.Source(in.Source)
		head, known := heads[in.Source]
		if log == nil || !known {
			continue
		}
		positions := map[int]int64{}
		lowest := head
		for _, cp := range stored {
			if cp.Subscription == sub.name && cp.Source == in.Source {
				positions[cp.Slice] = cp.Position
				lowest = min(lowest, cp.Position)
			}
		}
		if len(positions) == 0 {
			continue // it has never run
		}
		n, oldest, err := behind(ctx, log, sub, in, positions, lowest, head)
		if err != nil {
			return nil, fmt.Errorf("lag of %s: %w", sub.name, err)
		}
		list = append(list, Lag{sub.service, sub.name, in.Source, n, time.Duration(c.age(oldest) * float64(time.Second))})
	}
	return list, nil
}

// behind counts the records between lowest and head that the subscription takes
// and has not settled. The slices of a keyed subscription cannot be told from the
// records, so there everything above the lowest checkpoint counts.
func behind(ctx context.Context, log Source, sub *reading, in driver.Interest, positions map[int]int64, lowest, head int64) (n float64, oldest int64, err error) {
	if lowest >= head {
		return 0, 0, nil
	}
	records, err := log.Read(ctx, in.Source, driver.ReadQuery{After: lowest, Until: head, Limit: counted, Kinds: carried})
	if err != nil {
		return 0, 0, err
	}
	for i := range records {
		r := &records[i]
		if !sub.all && !in.Wants(r) || !sub.keyed && r.Position <= positions[driver.SliceOf(r.Stream, len(positions))] {
			continue
		}
		if n++; oldest == 0 {
			oldest = r.Time
		}
	}
	if len(records) == counted {
		last := records[counted-1].Position
		n += n * float64(head-last) / float64(last-lowest)
	}
	return n, oldest, nil
}

// age returns the seconds since a time in microseconds, 0 for none.
func (c *Collector) age(micros int64) float64 {
	if micros == 0 {
		return 0
	}
	return max(c.cfg.Clock().Sub(time.UnixMicro(micros)).Seconds(), 0)
}

func gauge(out chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}
