package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

type groupCmd struct {
	List     groupListCmd     `cmd:"" help:"List the consumer groups." uses:"bootstrap,output"`
	Describe groupDescribeCmd `cmd:"" help:"Show a group's members, committed offsets and lag." uses:"bootstrap,output"`
	Reset    groupResetCmd    `cmd:"" help:"Move a group's committed offsets; shows what would change unless --execute is given." uses:"bootstrap,output"`
	Delete   groupDeleteCmd   `cmd:"" help:"Delete groups without members, with their offsets." uses:"bootstrap,output"`
}

type groupListCmd struct{}

func (groupListCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Group    string `json:"group"`
		State    string `json:"state"`
		Protocol string `json:"protocolType"`
	}
	rows := make([]row, 0, len(groups))
	for _, g := range groups.Sorted() {
		rows = append(rows, row{g.Group, g.State, g.ProtocolType})
	}
	return printRows(c, rows, table.Row{"group", "state", "protocol type"}, func(r row) table.Row {
		return table.Row{r.Group, r.State, r.Protocol}
	})
}

type groupDescribeCmd struct {
	Group   string `arg:"" help:"Name of the group."`
	Members bool   `help:"Show the members and what each was assigned, instead of the offsets."`
}

type groupMemberRow struct {
	Member     string   `json:"member"`
	Instance   string   `json:"instance,omitempty"` // of a static member
	Client     string   `json:"client"`
	Host       string   `json:"host"`
	Partitions []string `json:"partitions"` // topic-partition
}

func memberRows(members []kadm.DescribedGroupMember) []groupMemberRow {
	rows := []groupMemberRow{}
	for _, m := range members {
		r := groupMemberRow{Member: m.MemberID, Client: m.ClientID, Host: m.ClientHost, Partitions: []string{}}
		if m.InstanceID != nil {
			r.Instance = *m.InstanceID
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				for _, p := range t.Partitions {
					r.Partitions = append(r.Partitions, fmt.Sprintf("%s-%d", t.Topic, p))
				}
			}
		}
		rows = append(rows, r)
	}
	return rows
}

type groupOffsetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: nothing
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"` // -1: not known
	Member    string `json:"member,omitempty"`
	Host      string `json:"host,omitempty"`
}

func (g *groupDescribeCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	lags, err := adm.Lag(ctx, g.Group)
	if err != nil {
		return err
	}
	l := lags[g.Group]
	if err := l.Error(); err != nil {
		return kafkaError("describe group "+g.Group, err, "")
	}
	if l.State == "Dead" { // what versions before 6 of DescribeGroups say
		return kafkaError("describe group "+g.Group, kerr.GroupIDNotFound, "")
	}
	rows := []groupOffsetRow{}
	for _, p := range l.Lag.Sorted() {
		r := groupOffsetRow{Topic: p.Topic, Partition: p.Partition, Committed: p.Commit.At, End: p.End.Offset, Lag: p.Lag}
		if p.Member != nil {
			r.Member, r.Host = p.Member.MemberID, p.Member.ClientHost
		}
		rows = append(rows, r)
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"group": g.Group, "state": l.State, "protocol": l.Protocol, "members": memberRows(l.Members), "offsets": rows})
	}
	fmt.Printf("%s  %s, %d member(s)\n", g.Group, l.State, len(l.Members))
	out := make([]table.Row, 0, len(rows))
	if g.Members {
		for _, m := range memberRows(l.Members) {
			out = append(out, table.Row{m.Member, m.Instance, m.Client, m.Host, strings.Join(m.Partitions, " ")})
		}
		printTable(os.Stdout, table.Row{"member", "instance", "client", "host", "partitions"}, out)
		return nil
	}
	for _, r := range rows {
		out = append(out, table.Row{r.Topic, r.Partition, orDash(r.Committed), orDash(r.End), orDash(r.Lag), r.Member, r.Host})
	}
	printTable(os.Stdout, table.Row{"topic", "partition", "committed", "end", "lag", "member", "host"}, out)
	return nil
}

func orDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

type groupDeleteCmd struct {
	Groups []string `arg:"" help:"Names of the groups."`
}

func (g *groupDeleteCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	answers, err := adm.DeleteGroups(ctx, g.Groups...)
	if err != nil {
		return err
	}
	var failed []error
	deleted := []string{}
	for _, a := range answers.Sorted() {
		if a.Err != nil {
			failed = append(failed, kafkaError("delete group "+a.Group, a.Err, ""))
			continue
		}
		deleted = append(deleted, a.Group)
	}
	return c.reportDeleted("group ", deleted, failed)
}
