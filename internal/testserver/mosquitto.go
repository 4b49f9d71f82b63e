package testserver

import (
	"os/exec"
	"testing"
)

// Mosquitto returns the stock clients of MQTT, mosquitto_pub and mosquitto_sub.
func Mosquitto(t testing.TB) (pub, sub string) {
	t.Helper()
	need(t, mosquittoName)
	var paths [2]string
	for i, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatalf("there is no %s on PATH; install it with: make servers", name)
		}
		paths[i] = path
	}
	return paths[0], paths[1]
}
