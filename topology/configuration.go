// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"cmp"
	"errors"

	"github.com/heraldlb/herald/announce"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/source"
)

// fixed is a source of a configuration that does not change.
type fixed source.Document

// Document implements source.Documents.
func (f fixed) Document() (source.Document, bool) { return source.Document(f), true }

// settle decides which configuration is in force, as a controller that starts does.
func (b *builder) settle() {
	b.s = b.in.Cluster
	if b.in.File != "" {
		b.t.Config = Config{Source: "file " + b.in.File + " in Herald's pods", Unread: "it is a file in Herald's pods (--config-file), which is not read"}
		return
	}
	doc, kind := b.document()
	b.t.Config = Config{Source: doc.Source, Unread: b.unread(kind)}
	if b.t.Config.Unread != "" {
		b.part = kind == source.SourceResources && !b.in.unasked(ResourcesOf(config.KindPool)) && !b.in.unaskedWhole(KindResources)
		if !b.part {
			return
		}
	}
	b.loaded = b.loaded.Next(b.protected(doc))
	b.s.Config = b.loaded.Config
	b.t.Config.Loaded, b.t.Config.Version, b.t.Config.Notice = b.loaded.Config != nil && !b.part, b.loaded.Accepted.Version, doc.Notice
	if b.loaded.Err != nil && !b.part {
		b.t.Config.Refused = b.s.Config == nil && !errors.Is(b.loaded.Err, source.ErrNotFound)
		b.t.Config.Error = b.loaded.Err.Error()
	}
	if b.s.Config != nil {
		b.ads = announce.NewIndex(b.s.Config)
	}
}

// document returns the newest document of the source that counts.
func (b *builder) document() (source.Document, source.Source) {
	text, resources := fixed(b.in.ConfigMap), fixed(source.Document{
		Source:    "resources of " + config.ResourceGroup + " in " + b.in.Namespace,
		Resources: &config.Resources{Objects: b.in.Resources, Secrets: b.secrets()},
	})
	if b.in.Source == "resources" {
		return source.Document(resources), source.SourceResources
	}
	sources := source.Sources{
		ConfigMap: text,
		Record:    func() (source.Source, bool) { return b.in.Recorded, true },
		Similar:   func() []string { return b.in.Similar },
	}
	if b.in.Source != "configmap" {
		sources.Resources = resources
	}
	doc, _ := sources.Document()
	if doc.Resources != nil || b.in.Source != "configmap" && b.in.Recorded == source.SourceResources {
		return doc, source.SourceResources
	}
	return doc, source.SourceConfigMap
}

// unread returns why the configuration is not known, given the source that seems to count;
// empty if it is.
func (b *builder) unread(kind source.Source) string {
	// The other source may count, unless something says that it does not.
	said := cmp.Or(map[string]source.Source{"resources": source.SourceResources, "configmap": source.SourceConfigMap}[b.in.Source], b.in.Recorded)
	if said == "" && kind == source.SourceResources {
		said = source.FirstSource("", b.in.Resources)
	}
	for _, of := range []struct {
		kind string
		is   source.Source
	}{{KindResources, source.SourceResources}, {KindConfigMaps, source.SourceConfigMap}} {
		if b.in.unasked(of.kind) && (kind == of.is || said != kind) {
			return of.kind + " could not be read"
		}
	}
	return ""
}

// protected adds to a document what Services use, if an edit must not take that away.
func (b *builder) protected(d source.Document) source.Document {
	if !b.in.Protect || b.in.unasked(KindServices) || b.in.unasked(KindNamespaces) {
		return d
	}
	p := source.NewProtector(&source.ProtectOptions{Class: b.in.Class}, true)
	return p.Protect(d, b.s)
}

// secrets returns what Secrets the peers refer to. Secrets are not read here: each counts as
// good, unless the controller says that the peer lacks something.
func (b *builder) secrets() []config.PasswordSecret {
	var out []config.PasswordSecret
	for _, o := range b.in.Resources {
		if b.lacksReference(o) {
			continue
		}
		for _, name := range o.Secrets() {
			out = append(out, config.PasswordSecret{Namespace: b.in.Namespace, Name: name, Type: config.PasswordSecretType, HasKey: true, Password: config.NewSecret("unread")})
		}
	}
	return out
}

// lacksReference reports whether the controller refuses an object for what it refers to.
func (b *builder) lacksReference(o config.Object) bool {
	_, refused := b.in.Refused[o.ID]
	return refused && o.Judged == config.VerdictMissing
}
