package house

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// passwordFile is the parameter of an address that names a file with its password.
const passwordFile = "password_file"

// login takes the name of a file with a password, and the user whose it is, out of the address of a broker. The password of now is read
// before each connection, so it can be changed while the mall runs. An address that names no file stays as it is, and has no login
// beside what it holds.
func login(address string) (rest string, now func() (user, password string, err error), err error) {
	if !strings.Contains(address, passwordFile+"=") {
		return address, nil, nil
	}
	// Several servers stand apart by commas, each with its scheme; the user and the file of the first are those of all.
	servers := strings.Split(address, ",")
	user, file := "", ""
	for i, server := range servers {
		at, err := url.Parse(server)
		if err != nil {
			return "", nil, errors.New("its address is not a URL") // without the address, which may hold a password
		}
		if _, twice := at.User.Password(); twice {
			return "", nil, errors.New("its address holds a password, and names a file with one: leave one of the two out")
		}
		query := at.Query()
		if name := query.Get(passwordFile); name != "" && file == "" {
			file, user = name, at.User.Username()
		}
		query.Del(passwordFile)
		at.User, at.RawQuery = nil, query.Encode()
		servers[i] = at.String()
	}
	if user == "" {
		return "", nil, errors.New("its address names a file with a password, and no user: write scheme://user@host")
	}
	now = func() (string, string, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("password: %w", err)
		}
		return user, strings.TrimSpace(string(text)), nil
	}
	if _, _, err := now(); err != nil {
		return "", nil, err
	}
	return strings.Join(servers, ","), now, nil
}
