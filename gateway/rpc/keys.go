package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/backbone"
)

var keysPolicy = map[string]Access{
	"GetKey":     processes,
	"EnsureKey":  processes,
	"DestroyKey": processes,
}

// keysFace answers for the keys of persons.
type keysFace struct{ *server }

func serveKeys(s *server, o ...connect.HandlerOption) (string, http.Handler) {
	return soukv1connect.NewKeysServiceHandler(keysFace{s}, o...)
}

var keyStates = map[backbone.KeyState]soukv1.KeyState{
	backbone.KeyNone:      soukv1.KeyState_KEY_STATE_NONE,
	backbone.KeyAlive:     soukv1.KeyState_KEY_STATE_ALIVE,
	backbone.KeyDestroyed: soukv1.KeyState_KEY_STATE_DESTROYED,
}

func (h keysFace) GetKey(ctx context.Context, r *connect.Request[soukv1.GetKeyRequest]) (*connect.Response[soukv1.GetKeyResponse], error) {
	k, err := h.lend(ctx, r.Msg.GetPerson(), false)
	return done(&soukv1.GetKeyResponse{Key: k}, err)
}

func (h keysFace) EnsureKey(ctx context.Context, r *connect.Request[soukv1.EnsureKeyRequest]) (*connect.Response[soukv1.EnsureKeyResponse], error) {
	k, err := h.lend(ctx, r.Msg.GetPerson(), true)
	return done(&soukv1.EnsureKeyResponse{Key: k}, err)
}

func (h keysFace) DestroyKey(ctx context.Context, r *connect.Request[soukv1.DestroyKeyRequest]) (*connect.Response[soukv1.DestroyKeyResponse], error) {
	if err := h.known(r.Msg.GetPerson()); err != nil {
		return nil, err
	}
	return done(&soukv1.DestroyKeyResponse{}, unread(h.Keys.DestroyKey(ctx, r.Msg.GetPerson())))
}

func (h keysFace) known(person string) error {
	if err := validID("person", person); err != nil {
		return err
	}
	if h.Keys == nil {
		return backbone.ErrUnavailable
	}
	return nil
}

func (h keysFace) lend(ctx context.Context, person string, create bool) (*soukv1.PersonKey, error) {
	if err := h.known(person); err != nil {
		return nil, err
	}
	k, err := h.Keys.LendKey(ctx, person, create)
	if err != nil {
		return nil, unread(err)
	}
	return &soukv1.PersonKey{State: keyStates[k.State], Secret: k.Secret, Keep: durationpb.New(backbone.KeyLife)}, nil
}

// RemoteKeys lends the keys of another process: it is the Owner of a backbone.KeysConfig. Safe for concurrent use.
func RemoteKeys(client soukv1connect.KeysServiceClient) backbone.KeyOwner { return remoteKeys{client} }

type remoteKeys struct {
	client soukv1connect.KeysServiceClient
}

// LendKey implements backbone.KeyOwner.
func (k remoteKeys) LendKey(ctx context.Context, person string, create bool) (backbone.LentKey, error) {
	if !create {
		r, err := k.client.GetKey(ctx, connect.NewRequest(&soukv1.GetKeyRequest{Person: person}))
		if err != nil {
			return backbone.LentKey{}, ErrorOf(err)
		}
		return lent(r.Msg.GetKey())
	}
	r, err := k.client.EnsureKey(ctx, connect.NewRequest(&soukv1.EnsureKeyRequest{Person: person}))
	if err != nil {
		return backbone.LentKey{}, ErrorOf(err)
	}
	return lent(r.Msg.GetKey())
}

func lent(k *soukv1.PersonKey) (backbone.LentKey, error) {
	for state, wire := range keyStates {
		if wire == k.GetState() {
			return backbone.LentKey{State: state, Secret: k.GetSecret()}, nil
		}
	}
	return backbone.LentKey{}, backbone.ErrUnavailable // of a newer version
}

// DestroyKey implements backbone.KeyOwner.
func (k remoteKeys) DestroyKey(ctx context.Context, person string) error {
	_, err := k.client.DestroyKey(ctx, connect.NewRequest(&soukv1.DestroyKeyRequest{Person: person}))
	return ErrorOf(err)
}
