// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// page is how many objects a request asks for.
const page = 500

// errTimeout begins the error of a request that took too long.
var errTimeout = errors.New("no whole answer within")

// notInstalled is the note of a kind that the API server does not have.
const notInstalled = "not installed"

// A body is an answer whose request ends when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b body) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// ask sends a request, and bounds the time until its whole answer is read.
func (d *dump) ask(ctx context.Context, send func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	cancel := context.CancelFunc(func() {})
	if d.opts.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, d.opts.Timeout, fmt.Errorf("%w %v: --request-timeout sets how long to wait", errTimeout, d.opts.Timeout))
	}
	answer, err := send(ctx)
	if err != nil {
		err = caused(ctx, err)
		cancel()
		return nil, err
	}
	return body{causeReader{ctx, answer}, cancel}, nil
}

// caused returns why a context has ended, if that is what an error says.
func caused(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A causeReader says why its context has ended.
type causeReader struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements io.Reader.
func (r causeReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = caused(r.ctx, err)
	}
	return n, err
}

// get returns the API server's answer for a path.
func (d *dump) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return d.ask(ctx, func(ctx context.Context) (io.ReadCloser, error) { return d.opts.Client.Raw(ctx, path, query) })
}

// read calls a function with each object of a kind. The note says what is remarkable and no
// error.
func (d *dump) read(ctx context.Context, k kind, each func(map[string]any) error) (note string, err error) {
	some := func(o map[string]any) error {
		if k.keep != nil && !k.keep(o) {
			return nil
		}
		return each(o)
	}
	if len(k.single) > 0 {
		return d.readSingle(ctx, k, some)
	}
	for i, path := range k.paths {
		err = d.list(ctx, path, k.query, some)
		if !apierrors.IsForbidden(err) || i+1 == len(k.paths) {
			break
		}
		note = fmt.Sprintf("of namespace %s alone: %s", d.opts.Namespace, err)
	}
	if apierrors.IsNotFound(err) {
		return notInstalled, nil
	}
	return note, err
}

// list reads a list in pages.
func (d *dump) list(ctx context.Context, path string, query url.Values, each func(map[string]any) error) error {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", strconv.Itoa(page))
	for {
		answer, err := d.get(ctx, path, query)
		if err != nil {
			return err
		}
		next, err := items(answer, each)
		answer.Close()
		if err != nil || next == "" {
			return err
		}
		query.Set("continue", next)
	}
}

// readSingle reads objects one by one.
func (d *dump) readSingle(ctx context.Context, k kind, each func(map[string]any) error) (note string, err error) {
	var failed []string
	var missing []string
	for _, path := range k.single {
		name := path[strings.LastIndex(path, "/")+1:]
		o, err := d.object(ctx, path)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, name)
			continue
		case err != nil:
			failed = append(failed, err.Error())
			continue
		}
		if err := each(o); err != nil {
			return "", err
		}
	}
	if len(missing) > 0 {
		note = "there is no " + strings.Join(missing, ", ")
	}
	switch len(failed) {
	case 0:
		return note, nil
	case 1:
		return note, errors.New(failed[0])
	}
	return note, fmt.Errorf("%s; and %d more", failed[0], len(failed)-1)
}

// object reads an object.
func (d *dump) object(ctx context.Context, path string) (map[string]any, error) {
	answer, err := d.get(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	o := map[string]any{}
	dec := json.NewDecoder(answer)
	dec.UseNumber()
	return o, dec.Decode(&o)
}

// objects writes all objects of a kind into a file.
func (d *dump) objects(ctx context.Context, k kind, to io.Writer) (note string, err error) {
	enc := encoder(to, "  ")
	count := 0
	separator := `{"apiVersion": "v1", "kind": "List", "items": [` + "\n  "
	note, err = d.read(ctx, k, func(o map[string]any) error {
		if _, err := io.WriteString(to, separator); err != nil {
			return err
		}
		separator = "  ,"
		count++
		return enc.Encode(d.shown(k, o))
	})
	if count == 0 {
		if err != nil || note == notInstalled || len(k.single) > 0 {
			return note, err // there is no list
		}
		if _, err := io.WriteString(to, separator); err != nil {
			return note, err
		}
	}
	if _, err := io.WriteString(to, "]}\n"); err != nil {
		return note, err
	}
	return strings.TrimSuffix(fmt.Sprintf("%d objects; %s", count, note), "; "), err
}

// shown returns what may be shown of an object, and matters.
func (d *dump) shown(k kind, o map[string]any) any {
	if o["kind"] == nil {
		o["apiVersion"], o["kind"] = k.version, k.kind
	}
	if metadata, ok := o["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	if k.trim != nil {
		k.trim(o)
	}
	return d.redact.value("", o)
}
