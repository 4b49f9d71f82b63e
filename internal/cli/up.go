package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"time"

	"example.org/souk/gateway/partner"
	"example.org/souk/internal/control"
	"example.org/souk/internal/house"
	"example.org/souk/mall"
)

// mallFlags are those of every way to run the mall.
type mallFlags struct {
	Currency      string        `help:"The shop's currency." default:"EUR" env:"SOUK_CURRENCY"`
	Broker        string        `help:"URL of a broker that carries messages between the services; default none, the log itself does." env:"SOUK_BROKER" placeholder:"URL"`
	Partner       []string      `help:"URL of a broker that partners order through and are told of orders: amqp:// for RabbitMQ, kafka:// for Kafka, nats:// for NATS; ACCOUNT=URL where its orders belong to a customer of their own. May be given several times; in the environment they stand apart by spaces." sep:" " env:"SOUK_PARTNERS" placeholder:"[ACCOUNT=]URL"`
	PartnerAcct   string        `help:"Customer that the orders of partners belong to whose URL names none." name:"partner-account" default:"PARTNER_001" env:"SOUK_PARTNER_ACCOUNT" placeholder:"CUSTOMER"`
	BasketHold    time.Duration `help:"How long a basket is kept unless its customer extends it." default:"30m" env:"SOUK_BASKET_HOLD"`
	PaymentHold   time.Duration `help:"How long what a customer had set aside is kept while no order takes it; then the payment is voided." default:"30m" env:"SOUK_PAYMENT_HOLD"`
	OrderPatience time.Duration `help:"How long an order may wait for its approval before it expires." default:"24h" env:"SOUK_ORDER_PATIENCE"`
	RobotLease    time.Duration `help:"How long a robot is counted on that is not heard of; then another gets what it has not picked." default:"30s" env:"SOUK_ROBOT_LEASE"`
	StepPatience  time.Duration `help:"How long a step of the checkout waits for another service's answer; then it asks again, or undoes the order where a payment is not confirmed." default:"30s" env:"SOUK_STEP_PATIENCE"`
	Collection    time.Duration `help:"How long an order that is ready waits to be collected before it expires." default:"48h" env:"SOUK_COLLECTION"`
	Retention     time.Duration `help:"How long answers to commands are kept, and commands, replies and calls in the logs; no shorter than the order patience; default 168h. Events are kept for ever." env:"SOUK_RETENTION" placeholder:"DURATION"`
	MQTT          string        `help:"Address of the MQTT server that devices connect to, off for none; auto is 127.0.0.1:1883, or a free port where --http asks for one. Other than on loopback it speaks TLS." name:"mqtt" default:"auto" env:"SOUK_MQTT" placeholder:"ADDRESS"`
	MQTTTLS       bool          `help:"Speak TLS to devices on loopback, too." name:"mqtt-tls" env:"SOUK_MQTT_TLS"`
	MQTTCert      string        `help:"File with the certificate of the MQTT server; default one that is made in the data directory." name:"mqtt-cert" env:"SOUK_MQTT_CERT_FILE" type:"path" placeholder:"FILE" and:"mqttcert"`
	MQTTKey       string        `help:"File with its key." name:"mqtt-key" env:"SOUK_MQTT_KEY_FILE" type:"path" placeholder:"FILE" and:"mqttcert"`
	MQTTChain     string        `help:"First level of the topics of older systems." name:"mqtt-chain" default:"souk" env:"SOUK_MQTT_CHAIN" placeholder:"CHAIN"`
	MQTTSessions  int           `help:"Sessions of devices that may outlive their connections." name:"mqtt-sessions" default:"20000" env:"SOUK_MQTT_SESSIONS" placeholder:"NUMBER"`
	MQTTEach      int           `help:"Sessions of one device, connected or waiting." name:"mqtt-sessions-each" default:"32" env:"SOUK_MQTT_SESSIONS_EACH" placeholder:"NUMBER"`
	MQTTFilters   int           `help:"Filters of one device in all its sessions." name:"mqtt-filters-each" default:"256" env:"SOUK_MQTT_FILTERS_EACH" placeholder:"NUMBER"`
	Logistics     string        `help:"URL of the message bus of the logistics department, mqtt:// or mqtts:// with user and password, off for none; default that of a supplier's stand-in as a process of its own." env:"SOUK_LOGISTICS" placeholder:"URL"`
	Payment       string        `help:"URL of the payment provider; default a stand-in as a process of its own." env:"SOUK_PAYMENT" placeholder:"URL"`
	PaymentKey    string        `help:"File with the API key of the payment provider." env:"SOUK_PAYMENT_KEY_FILE" type:"path" placeholder:"FILE"`
	PaymentSecret string        `help:"File with the secret that signs the payment provider's callbacks; without it there is no address for them." name:"payment-callback-secret" env:"SOUK_PAYMENT_CALLBACK_SECRET_FILE" type:"path" placeholder:"FILE"`
	SMTP          string        `help:"Mail server, host:port; default a mailbox file in the data directory." env:"SOUK_SMTP" placeholder:"ADDRESS"`
	SMS           string        `help:"URL of a text message provider; default a file in the data directory." name:"sms" env:"SOUK_SMS" placeholder:"URL"`
	SMSKey        string        `help:"File with the API key of the text message provider." name:"sms-key" env:"SOUK_SMS_KEY_FILE" type:"path" placeholder:"FILE"`
	SMTPPlain     bool          `help:"Speak to the mail server without TLS; loopback only." env:"SOUK_SMTP_PLAIN"`
	SMTPUser      string        `help:"User at the mail server." env:"SOUK_SMTP_USER"`
	SMTPPassword  string        `help:"File with the password at the mail server." env:"SOUK_SMTP_PASSWORD_FILE" type:"path" placeholder:"FILE"`
	TLS           bool          `help:"Speak TLS to browsers and programs on loopback, too." name:"tls" env:"SOUK_TLS"`
	TLSCert       string        `help:"File with the certificate of the web server; default one that is made in the data directory." name:"tls-cert" env:"SOUK_TLS_CERT_FILE" type:"path" placeholder:"FILE" and:"tlscert"`
	TLSKey        string        `help:"File with its key." name:"tls-key" env:"SOUK_TLS_KEY_FILE" type:"path" placeholder:"FILE" and:"tlscert"`
	oidcFlags     `embed:"" prefix:"oidc-"`
	CallerRate    int    `help:"Requests a second of one caller." default:"1000" env:"SOUK_CALLER_RATE"`
	Connections   int    `help:"Connections of one address at each listener: of browsers and programs, of devices, of other processes. Behind a proxy all have one address." name:"connections-each" default:"4096" env:"SOUK_CONNECTIONS_EACH" placeholder:"NUMBER"`
	MailFrom      string `help:"Sender of mail." default:"souk <shop@souk.example>" env:"SOUK_MAIL_FROM"`
}

// oidcFlags say whose tokens are taken beside the mall's own.
type oidcFlags struct {
	Issuer       string            `help:"URL of an OpenID provider whose access tokens are taken beside the mall's own, as it names itself." env:"SOUK_OIDC_ISSUER" placeholder:"URL"`
	Audience     string            `help:"How its access tokens name the mall (aud); required with an issuer." env:"SOUK_OIDC_AUDIENCE" placeholder:"NAME"`
	SubjectClaim string            `help:"Claim with the id of who bears a token, as the mall knows them; one that nobody can change for themselves." default:"sub" env:"SOUK_OIDC_SUBJECT_CLAIM" placeholder:"CLAIM"`
	RoleClaim    string            `help:"Claim with what they are: a name or a list; with dots for one that lies deeper, as realm_access.roles." default:"role" env:"SOUK_OIDC_ROLE_CLAIM" placeholder:"CLAIM"`
	Role         map[string]string `help:"What a name in that claim means here: customer, clerk, manager, robot, device, partner or engineer. May be given several times; in the environment they stand apart by semicolons. Default: customer, clerk, manager and engineer mean themselves." env:"SOUK_OIDC_ROLES" placeholder:"NAME=ROLE"`
	Client       string            `help:"How the provider knows the mall as a client; then people sign in there by a browser. Not the audience." env:"SOUK_OIDC_CLIENT" placeholder:"ID"`
	ClientSecret string            `help:"File with the client's secret; without one it is a public client." env:"SOUK_OIDC_CLIENT_SECRET_FILE" type:"path" placeholder:"FILE"`
	Redirect     string            `help:"Address of /oidc/callback as browsers reach it; default that of --http." env:"SOUK_OIDC_REDIRECT" placeholder:"URL"`
}

func (c *oidcFlags) config() house.OIDCConfig {
	return house.OIDCConfig{
		Issuer: c.Issuer, Audience: c.Audience, SubjectClaim: c.SubjectClaim, RoleClaim: c.RoleClaim, Roles: c.Role,
		Client: c.Client, SecretFile: c.ClientSecret, Redirect: c.Redirect,
	}
}

type upCommand struct {
	HTTP      string   `help:"Address of the pages and APIs. Other than on loopback it speaks TLS." default:"127.0.0.1:8080" env:"SOUK_HTTP"`
	TestMode  bool     `help:"Add the routes that fill and empty a test's world; listens on ports 8900 and 8901 as well." env:"SOUK_TEST_MODE"`
	Empty     bool     `help:"Leave the demo shop out." env:"SOUK_EMPTY"`
	Without   []string `help:"Services to leave out; what is meant for them waits." placeholder:"PART"`
	mallFlags `embed:""`
}

// Help implements kong's long help.
func (upCommand) Help() string {
	return `Example:
  souk up --data ./souk-data
  curl -s http://127.0.0.1:8080/readyz
  souk up --partner amqp://127.0.0.1 --partner-account PARTNER_001
  souk up --partner PARTNER_001=amqp://broker.one --partner PARTNER_002=kafka://broker.two
  souk up --http 0.0.0.0:8443 --tls-cert shop.pem --tls-key shop.key
  souk up --oidc-issuer https://login.example/realms/mall --oidc-audience souk --oidc-role-claim realm_access.roles --oidc-role shop-lead=manager

It prints the addresses, and one sign-in link a role that can be used once, for
15 minutes; souk token link prints another one.`
}

// The collector runs half as often as by default while the mall is small, which is worth a quarter of its throughput, and
// as often as it must when it nears a size that is too large for a shop's machine.
const (
	gcPercent   = 200
	memoryLimit = 400 << 20 // bytes
)

func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// mqtt returns the address that is meant by --mqtt.
func (c *mallFlags) mqtt(http string) string {
	if c.MQTT != "auto" {
		return c.MQTT
	}
	if _, port, _ := net.SplitHostPort(http); port == "0" {
		return "127.0.0.1:0"
	}
	return "127.0.0.1:1883"
}

// Validate refuses what no mall could work with, before anything is opened.
func (c *mallFlags) Validate() error {
	for name, n := range map[string]int{"--caller-rate": c.CallerRate, "--connections-each": c.Connections, "--mqtt-sessions": c.MQTTSessions, "--mqtt-sessions-each": c.MQTTEach, "--mqtt-filters-each": c.MQTTFilters} {
		if n < 1 {
			return fmt.Errorf("%s is %d, and has to be 1 at least", name, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"--basket-hold": c.BasketHold, "--payment-hold": c.PaymentHold, "--order-patience": c.OrderPatience, "--robot-lease": c.RobotLease,
		"--step-patience": c.StepPatience, "--collection": c.Collection,
	} {
		if d <= 0 {
			return fmt.Errorf("%s is %s, and has to be more than 0s", name, d)
		}
	}
	if c.Retention < 0 {
		return fmt.Errorf("--retention is %s, and has to be more than 0s", c.Retention)
	}
	if err := mall.ValidCurrency(c.Currency); err != nil {
		return fmt.Errorf("--currency %q: %w, such as EUR", c.Currency, err)
	}
	if c.Payment != "" && c.PaymentKey == "" {
		return errors.New("--payment needs --payment-key, the file with the API key of the payment provider")
	}
	if c.MQTTEach > c.MQTTSessions {
		return fmt.Errorf("--mqtt-sessions-each is %d, which is more than the %d of --mqtt-sessions", c.MQTTEach, c.MQTTSessions)
	}
	if err := mall.ValidID(c.PartnerAcct); err != nil {
		return fmt.Errorf("--partner-account: %w", err)
	}
	for _, p := range c.Partner {
		if _, _, err := partner.SplitAccount(p); err != nil {
			return fmt.Errorf("--partner: %w", err)
		}
	}
	return nil
}

// config is what the flags say of a house.
func (c *mallFlags) config(r *root, env Env) house.Config {
	return house.Config{
		Data: r.Data, DB: r.DB, Currency: c.Currency,
		Payment: house.PaymentConfig{URL: c.Payment, KeyFile: c.PaymentKey, CallbackSecretFile: c.PaymentSecret},
		Mail:    house.MailConfig{SMTP: c.SMTP, Plain: c.SMTPPlain, Username: c.SMTPUser, PasswordFile: c.SMTPPassword, From: c.MailFrom},
		SMS:     house.SMSConfig{URL: c.SMS, KeyFile: c.SMSKey},
		TLS:     house.TLSConfig{On: c.TLS, CertFile: c.TLSCert, KeyFile: c.TLSKey}, OIDC: c.oidcFlags.config(),
		Logger: slog.New(slog.NewJSONHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Added: env.Added,
		CallerRate: c.CallerRate, ConnectionsEach: c.Connections, BasketHold: c.BasketHold, PaymentHold: c.PaymentHold, OrderPatience: c.OrderPatience, StepPatience: c.StepPatience, Collection: c.Collection, RobotLease: c.RobotLease, Retention: c.Retention,
		Broker: c.Broker, Partners: c.Partner, PartnerAccount: c.PartnerAcct, Logistics: c.Logistics,
		MQTT: house.MQTTConfig{
			TLS: c.MQTTTLS, CertFile: c.MQTTCert, KeyFile: c.MQTTKey, Chain: c.MQTTChain,
			Sessions: c.MQTTSessions, SessionsEach: c.MQTTEach, FiltersEach: c.MQTTFilters,
		},
	}
}

// Run runs the mall until ctx ends, then drains.
func (c *upCommand) Run(ctx context.Context, env Env, r *root) error {
	config := c.config(r, env)
	config.HTTP, config.TestMode, config.Empty, config.Without = c.HTTP, c.TestMode, c.Empty, c.Without
	config.MQTT.Address = c.mqtt(c.HTTP)
	return runMall(ctx, config, func(h *house.House) error {
		fmt.Fprintf(env.Stdout, "online store  %s\n", h.URL())
		return welcome(env, h)
	})
}

// runMall runs a house until ctx ends, then drains. begun tells people about it once it takes orders.
func runMall(ctx context.Context, config house.Config, begun func(*house.House) error) error {
	tuneCollector()
	return control.Host(ctx, config, begun)
}

// welcome prints how to come in.
func welcome(env Env, h *house.House) error {
	if address := h.MQTT(); address != "" {
		fmt.Fprintf(env.Stdout, "devices       %s\n", address)
	}
	if address := h.Staff(); address != "" {
		fmt.Fprintf(env.Stdout, "staff         %s\n", address)
	}
	if address := h.Logistics(); address != "" {
		fmt.Fprintf(env.Stdout, "logistics     %s\n", address)
	}
	if h.TestMode() {
		fmt.Fprintln(env.Stdout, "test mode     requests without a token are let in as staff: for tests on this machine only")
	}
	links, err := h.SignIns()
	if err != nil {
		return err
	}
	for _, l := range links {
		fmt.Fprintf(env.Stdout, "sign in       %-9s %s\n", l.Who, l.URL)
	}
	fmt.Fprintln(env.Stdout, "ready")
	return nil
}
