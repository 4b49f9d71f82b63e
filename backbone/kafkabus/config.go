package kafkabus

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientConfig says which cluster a Client speaks to and how. A zero field stands for its default.
type ClientConfig struct {
	// Brokers are the host:port of some brokers of the cluster, from which the others are learnt. There is no default.
	Brokers []string

	// Name is the client's name in the brokers' logs and quotas; default "souk".
	Name string

	// Replication is the replication factor of topics that DeclareTopic makes. Default: 3, or as many as the cluster has
	// brokers where those are fewer.
	Replication int

	// MinInsync is min.insync.replicas of topics that DeclareTopic makes. Default: 1 less than their replication factor,
	// but 2 where that is 2, and 1 where that is 1.
	MinInsync int

	// Retention is how long topics that DeclareTopic makes keep their messages; default seven days, as Kafka's own.
	Retention time.Duration

	// MinRetention is what is asked of topics that exist, and of the brokers for the places of groups
	// (offsets.retention.minutes); default: Retention.
	MinRetention time.Duration

	// MaxMessage is the size in bytes of the largest message with its key and headers, and of a batch on the wire; default
	// 1,000,000. A topic that takes less (max.message.bytes) is refused.
	MaxMessage int

	// CommitEvery is how long settled messages gather before the group's place is stored; default 100 ms. It is how much
	// comes again, at most, after a process was killed.
	CommitEvery time.Duration

	// Patience is how long a method tries to reach a cluster that does not answer; default 8 s, at least 2 s.
	Patience time.Duration

	// Options are further options of the client library, for each connection: TLS and SASL above all. They come last and
	// may undo what keeps the order; see the package's documentation before changing what a producer or consumer does.
	Options []kgo.Opt
}

func (c *ClientConfig) fill() error {
	if len(c.Brokers) == 0 {
		return errors.New("kafkabus: ClientConfig.Brokers is empty: name a broker, host:port")
	}
	defaults(&c.Name, "souk")
	defaults(&c.Retention, 7*24*time.Hour)
	defaults(&c.MinRetention, c.Retention)
	defaults(&c.MaxMessage, 1_000_000)
	defaults(&c.CommitEvery, 100*time.Millisecond)
	defaults(&c.Patience, 8*time.Second)
	if c.Patience < 2*time.Second {
		return fmt.Errorf("kafkabus: ClientConfig.Patience is %v: a cluster that elects a leader needs 2s", c.Patience)
	}
	return nil
}

func defaults[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// replication returns what topics are made with in a cluster of that many brokers.
func (c *ClientConfig) replication(brokers int) (factor, minInsync int) {
	factor, minInsync = c.Replication, c.MinInsync
	defaults(&factor, max(1, min(3, brokers)))
	if minInsync == 0 {
		minInsync = factor - 1
		if factor <= 2 {
			minInsync = factor
		}
	}
	return factor, minInsync
}

// options are those of every connection.
func (c *ClientConfig) options(more ...kgo.Opt) []kgo.Opt {
	const shortest, longest = 20 * time.Millisecond, 250 * time.Millisecond
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.Name),
		// With the library's own pauses (metadata at most each 5 s, retries from 250 ms to 5 s) a broker that was
		// restarted in a tenth of a second is missed for several seconds.
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(10 * time.Second),
		kgo.RetryBackoffFn(func(try int) time.Duration { return min(shortest<<min(try, 10), longest) }),
		kgo.RetryTimeout(c.Patience * 2 / 3),
		kgo.DialTimeout(c.Patience / 3),
		// A try that begins at the last moment connects and waits for an answer, a third of the patience each.
		kgo.RequestTimeoutOverhead(c.Patience / 3),
		kgo.DisableClientMetrics(),
	}
	return append(append(options, more...), c.Options...)
}
