// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/heraldlb/herald/cmd/internal/configsource"
	"github.com/heraldlb/herald/cmd/internal/daemon"
	"github.com/heraldlb/herald/cmd/internal/page"
	"github.com/heraldlb/herald/cmd/internal/web"
	"github.com/heraldlb/herald/kube"
	"github.com/heraldlb/herald/kube/lease"
	"github.com/heraldlb/herald/reconcile"
	"github.com/heraldlb/herald/status"
)

const (
	// pageAddress is where the page is without --page-address.
	pageAddress = "127.0.0.1:7474"
	// pagePermission is what the owner of a token must be allowed to get. The page's own
	// paths are like those of the API server, which everybody may get.
	pagePermission = "/herald/page"
)

// view returns what this controller knows of a whole Herald.
func (p *program) view(documents *configsource.Source, election *lease.Election) kube.View {
	return kube.View{
		Namespace: p.Namespace, Class: p.Class, IgnoreExclude: p.ignoreExclude, Protect: documents.Protect != nil, Pod: p.pod,
		Leader: func() string {
			id := election.Leader()
			if i := strings.LastIndex(id, "_"); i > 0 {
				return id[:i]
			}
			return id
		},
		Watcher: p.watcher, Text: documents.Text, Similar: documents.Similar, Recorded: documents.Record, Resources: documents.Resources,
		Agents: p.agents, Announced: p.announced,
	}
}

// site returns the page, and has the controller wake it.
func (p *program) site(opts *reconcile.ControllerOptions, view kube.View) (*web.Site, error) {
	log := p.log.With("component", "page")
	p.page = page.New(page.Options{Input: view.Input, Pod: p.pod, Version: daemon.Version(), Logger: log})
	opts.Reporter = reporters{opts.Reporter, p.page}
	return web.NewSite(web.SiteOptions{
		Flags: p.web, Address: p.pageAt, Files: p.page.Files(), API: p.page.API(), Permission: pagePermission,
		Reviewer: p.client, Logger: log,
	})
}

// reporters hand on the report of each pass, and tell the page that there was one.
type reporters struct {
	to   reconcile.Reporter
	page *page.Page
}

// Set hands on a report.
func (r reporters) Set(report status.Report) {
	r.to.Set(report)
	r.page.Wake()
}
