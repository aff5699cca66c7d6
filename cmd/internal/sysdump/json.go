// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errNoObject is the error that a page is no object in JSON.
var errNoObject = errors.New("the answer is no object in JSON")

// encoder returns an encoder of what is nested in a document.
func encoder(w io.Writer, prefix string) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	return enc
}

// document copies an object in JSON, without secrets. It holds one element of the lists that
// are members of the object at a time.
func (r *redactor) document(to io.Writer, from io.Reader) error { return whole(r.copy(to, from)) }

// whole returns an error for an answer that ends in the middle.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin reads the begin of an object.
func begin(dec *json.Decoder) error {
	t, err := dec.Token()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, io.EOF) || err == nil && t != json.Delim('{') {
		return errNoObject
	}
	return err
}

func (r *redactor) copy(to io.Writer, from io.Reader) error {
	dec := json.NewDecoder(from)
	dec.UseNumber()
	if err := begin(dec); err != nil {
		return err
	}
	enc := encoder(to, "  ")
	separator := "{\n  "
	for ; dec.More(); separator = "  ," {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		name := fmt.Sprint(t)
		if _, err := io.WriteString(to, separator+compact(name)+": "); err != nil {
			return err
		}
		if err := r.member(to, enc, dec, name); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if separator == "{\n  " {
		_, err := io.WriteString(to, "{}\n")
		return err
	}
	_, err := io.WriteString(to, "}\n")
	return err
}

// member copies the value of a member.
func (r *redactor) member(to io.Writer, enc *json.Encoder, dec *json.Decoder, name string) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('['):
		separator := "[\n  "
		for ; dec.More(); separator = "  ," {
			var v any
			if err := dec.Decode(&v); err != nil {
				return err
			}
			if _, err := io.WriteString(to, separator); err != nil {
				return err
			}
			if err := enc.Encode(r.own(name, v)); err != nil {
				return err
			}
		}
		if separator == "[\n  " {
			separator = "["
		} else {
			separator = "  "
		}
		if _, err := io.WriteString(to, separator+"]\n"); err != nil {
			return err
		}
		_, err := dec.Token()
		return err
	case json.Delim('{'):
		o := map[string]any{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			var v any
			if err := dec.Decode(&v); err != nil {
				return err
			}
			o[fmt.Sprint(key)] = v
		}
		if _, err := dec.Token(); err != nil {
			return err
		}
		return enc.Encode(r.own(name, o))
	}
	return enc.Encode(r.own(name, t))
}

// own is like value, for what Herald's programs have said.
func (r *redactor) own(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		r.variable(name, v)
		for k, e := range v {
			v[k] = r.own(k, e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = r.own(name, e)
		}
		return v
	case string:
		if !isSecret(name) {
			return r.text(v, own)
		}
	}
	return r.value(name, v)
}

// items calls a function with each object of a list in JSON, one after the other, and returns
// where the list goes on.
func items(from io.Reader, each func(map[string]any) error) (next string, err error) {
	next, err = walk(from, each)
	return next, whole(err)
}

func walk(from io.Reader, each func(map[string]any) error) (next string, err error) {
	dec := json.NewDecoder(from)
	dec.UseNumber()
	if err := begin(dec); err != nil {
		return "", err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return "", err
		}
		switch name {
		case "metadata":
			var meta struct{ Continue string }
			if err := dec.Decode(&meta); err != nil {
				return "", err
			}
			next = meta.Continue
			continue
		case "items":
		default:
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return "", err
			}
			continue
		}
		if t, err := dec.Token(); err != nil {
			return "", err
		} else if t != json.Delim('[') {
			continue // null
		}
		for dec.More() {
			o := map[string]any{}
			if err := dec.Decode(&o); err != nil {
				return "", err
			}
			if err := each(o); err != nil {
				return "", err
			}
		}
		if _, err := dec.Token(); err != nil {
			return "", err
		}
	}
	_, err = dec.Token() // the end of the object
	return next, err
}
