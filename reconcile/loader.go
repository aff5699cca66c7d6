// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"log/slog"
	"time"

	"github.com/heraldlb/herald/status"
)

// Reasons of the events about the configuration.
const (
	EventConfigRejected  = "ConfigRejected"  // warning; an older one stays in force
	EventConfigAccepted  = "ConfigAccepted"  // after one was rejected
	EventConfigAmbiguous = "ConfigAmbiguous" // warning; there are a ConfigMap and resources, and one of them does not count
)

// EventListInDoubt is the reason of an event about Herald's Namespace, a warning:
// the API server lists too few of some kind, and is asked again.
const EventListInDoubt = "ListInDoubt"

// Documents is where the configuration comes from.
type Documents interface {
	// Document returns the newest version, and whether one was read yet.
	Document() (doc Document, read bool)
}

// A loader keeps the configuration that is in force, for a loop.
type loader struct {
	docs    Documents
	log     *slog.Logger
	protect *protector // nil: nothing is protected

	loaded   Loaded
	accepted time.Time // when loaded.Config came into force
}

// next looks for a newer document, given what the cluster looks like. It reports
// whether there is any.
func (l *loader) next(now time.Time, s Snapshot, synced bool) bool {
	doc, read := l.docs.Document()
	if !read {
		return false
	}
	if l.protect != nil && (!synced || !l.protect.add(&doc, s, l.loaded)) {
		return false
	}
	before := l.loaded
	l.loaded = before.Next(doc)
	if l.loaded.Config != before.Config {
		l.accepted = now
	}
	if err := l.loaded.Err; err != nil && (before.Err == nil || err.Error() != before.Err.Error()) {
		l.log.Error("configuration refused", "err", err)
	}
	if l.loaded.Config != before.Config || l.loaded.Err == nil && before.Err != nil {
		l.log.Info("configuration accepted", "source", doc.Source, "version", doc.Version)
	}
	if doc.Notice != "" && doc.Notice != before.Document.Notice {
		l.log.Warn("two configurations", "source", doc.Source, "reason", doc.Notice)
	}
	return true
}

// report says which configuration is in force.
func (l *loader) report() status.Config {
	c := status.Config{
		Loaded:   l.loaded.Config != nil,
		Source:   l.loaded.Document.Source,
		Version:  l.loaded.Accepted.Version,
		Accepted: l.accepted,
		Newest:   l.loaded.Document.Version,
		Notice:   l.loaded.Document.Notice,
	}
	if l.loaded.Err != nil {
		c.Error = l.loaded.Err.Error()
	}
	return c
}
