// Command kafka-server serves the Kafka protocol from kfake, the server that comes with franz-go, on loopback. It keeps
// its data in a directory and is killed and started again on it like any other server.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// settings are broker settings, each NAME=VALUE.
type settings map[string]string

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%q is not NAME=VALUE", text)
	}
	s[name] = value
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kafka-server:", err)
		os.Exit(1)
	}
}

func run() error {
	broker := settings{}
	port := flag.Int("port", 9092, "port of the first broker on 127.0.0.1; the others follow it")
	brokers := flag.Int("brokers", 1, "how many brokers the cluster has")
	data := flag.String("data", "", "directory that holds the cluster's data; must be given")
	sync := flag.Bool("sync", false, "flush each batch to disk before it is confirmed")
	level := flag.String("log", "none", "what is logged: none, error, warn, info, debug")
	flag.Var(broker, "set", "broker setting NAME=VALUE; may be given again")
	flag.Parse()
	if *data == "" {
		return errors.New("-data is missing")
	}
	levels := map[string]kfake.LogLevel{
		"none": kfake.LogLevelNone, "error": kfake.LogLevelError, "warn": kfake.LogLevelWarn,
		"info": kfake.LogLevelInfo, "debug": kfake.LogLevelDebug,
	}
	logged, ok := levels[*level]
	if !ok {
		return fmt.Errorf("-log=%s is no level", *level)
	}
	ports := make([]int, *brokers)
	for i := range ports {
		ports[i] = *port + i
	}
	options := []kfake.Opt{
		kfake.NumBrokers(*brokers),
		kfake.Ports(ports...),
		kfake.ClusterID("souk-test"),
		kfake.DataDir(*data),
		kfake.BrokerConfigs(broker),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, logged)),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return net.Listen(network, net.JoinHostPort("127.0.0.1", port))
		}),
	}
	if *sync {
		options = append(options, kfake.SyncWrites())
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	fmt.Println("listening on", strings.Join(cluster.ListenAddrs(), ","))
	<-stop
	cluster.Close()
	return nil
}
