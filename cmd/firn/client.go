package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafka connects to the brokers and makes sure that one answers, so that a wrong address is a sentence at
// once and not a command that hangs.
func (c *cli) kafka(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	opts = append([]kgo.Opt{kgo.SeedBrokers(c.Bootstrap...), kgo.ClientID("firn-cli")}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	pingCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := cl.Ping(pingCtx); err != nil {
		cl.Close()
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		return nil, fmt.Errorf("no broker answers at %s: %w (is it running? name another with --bootstrap)", strings.Join(c.Bootstrap, ","), err)
	}
	return cl, nil
}

func (c *cli) admin(ctx context.Context) (*kadm.Client, error) {
	cl, err := c.kafka(ctx)
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(30_000)
	return adm, nil
}

// session is what an administrative command works with: a context that ends with Ctrl-C and a client that has found a
// broker. done releases both.
func (c *cli) session() (ctx context.Context, adm *kadm.Client, done func(), err error) {
	ctx, cancel := interruptible()
	if adm, err = c.admin(ctx); err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, adm, func() { adm.Close(); cancel() }, nil
}

// getJSON asks the broker's HTTP side; answers other than 200 carry {"error": sentence}.
func (c *cli) getJSON(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Admin+path, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return fmt.Errorf("no broker answers at http://%s: %w (name another with --admin)", c.Admin, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the answer of http://%s%s: %w", c.Admin, path, err)
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Error string `json:"error"`
		}
		switch err := json.Unmarshal(body, &e); {
		case err != nil || e.Error == "":
			return fmt.Errorf("http://%s%s answered %s", c.Admin, path, res.Status)
		case res.StatusCode == http.StatusNotFound:
			return fmt.Errorf("%s (firn topic list shows the topics)", e.Error)
		default:
			return errors.New(e.Error)
		}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the answer of http://%s%s: %w", c.Admin, path, err)
	}
	return nil
}

// kafkaError turns a protocol error into a sentence, with the broker's own message where there is one.
func kafkaError(doing string, err error, message string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("%s: no such topic or partition (firn topic list shows the topics)", doing)
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return fmt.Errorf("%s: the group does not exist (firn group list shows those that do)", doing)
	}
	if errors.Is(err, kerr.NonEmptyGroup) {
		return fmt.Errorf("%s: it has members; stop them first (firn group describe --members shows them)", doing)
	}
	var ke *kerr.Error
	if message == "" && errors.As(err, &ke) {
		message = ke.Description
	}
	if message == "" {
		message = err.Error()
	}
	if ke != nil {
		return fmt.Errorf("%s: %s (%s)", doing, message, ke.Message)
	}
	return fmt.Errorf("%s: %s", doing, message)
}
