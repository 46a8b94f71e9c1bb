package report

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
)

const (
	plotWidth = 28 * vg.Centimeter
	rowHeight = 0.55 * vg.Centimeter
	margins   = 2.5 * vg.Centimeter
)

// outcomeColors are told apart by who sees red and green alike, too.
var outcomeColors = map[judge.Outcome]color.Color{
	judge.Met:        color.RGBA{R: 0, G: 114, B: 178, A: 255},
	judge.NotDecided: color.RGBA{R: 230, G: 159, B: 0, A: 255},
	judge.NotMet:     color.RGBA{R: 213, G: 94, B: 0, A: 255},
	judge.TooSlow:    color.RGBA{R: 150, G: 150, B: 150, A: 255},
}

// Bars draws, for each bar, how its ratios stand to the bound, on a logarithmic axis: a point for the median, a thick line
// for the middle half, a thin one for all. Right of 1 the bar is met.
func Bars(results []*judge.Result) ([]byte, error) {
	p := plot.New()
	p.Title.Text = "Bars: how far the ratio is from its bound (right of 1: met)"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	var labels []string
	low, high := 0.5, 2.0
	for _, r := range results {
		for _, v := range r.Judge() {
			if v.Outcome == judge.NotRun || v.Ratio.Min <= 0 {
				continue
			}
			y := -float64(len(labels))
			labels = append(labels, r.Case+": "+strings.TrimSuffix(v.Bar.String(), ", where the device allows it"))
			low, high = min(low, v.Share(v.Ratio.Min), v.Share(v.Ratio.Max)), max(high, v.Share(v.Ratio.Min), v.Share(v.Ratio.Max))
			if err := whiskers(p, y, v.Share, v.Ratio, outcomeColors[v.Outcome]); err != nil {
				return nil, err
			}
		}
	}
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: 1}, {X: 1, Y: -float64(len(labels))}})
	if err != nil {
		return nil, err
	}
	one.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(one)
	p.X.Min, p.X.Max = low*0.9, high*1.1
	return rows(p, labels)
}

// whiskers draws one spread at a height; share turns its values into the axis's.
func whiskers(p *plot.Plot, y float64, share func(float64) float64, s judge.Spread, c color.Color) error {
	for _, l := range []struct {
		from, to float64
		width    vg.Length
	}{{s.Min, s.Max, vg.Points(0.7)}, {s.Q1, s.Q3, vg.Points(4)}} {
		line, err := plotter.NewLine(plotter.XYs{{X: share(l.from), Y: y}, {X: share(l.to), Y: y}})
		if err != nil {
			return err
		}
		line.Width, line.Color = l.width, c
		p.Add(line)
	}
	points, err := plotter.NewScatter(plotter.XYs{{X: share(s.Median), Y: y}})
	if err != nil {
		return err
	}
	points.Shape, points.Radius, points.Color = draw.CircleGlyph{}, vg.Points(2.5), color.Black
	p.Add(points)
	return nil
}

// cpuFigures are those that the second plot shows, each case by the first that it has.
var cpuFigures = []judge.Figure{judge.CPUPerMillion, judge.CPUPerRequest, judge.CPUPerGB, judge.CPUPercent}

// CPU draws what each side of each case took of the processor, beside the side that took most: 1 is the dearest.
func CPU(results []*judge.Result) ([]byte, error) {
	p := plot.New()
	p.Title.Text = "CPU of each side, beside the dearest of its case"
	var labels []string
	most := 1.0
	for _, r := range results {
		has := r.Figures()
		i := slices.IndexFunc(cpuFigures, func(f judge.Figure) bool { return slices.Contains(has, f) })
		if i < 0 {
			continue
		}
		f, dearest := cpuFigures[i], 0.0
		for _, side := range r.Sides {
			dearest = max(dearest, judge.SpreadOf(r.Values(side, f)).Median)
		}
		for _, side := range r.Sides {
			s := judge.SpreadOf(r.Values(side, f))
			if s.N == 0 || dearest <= 0 {
				continue
			}
			y := -float64(len(labels))
			most = max(most, s.Max/dearest)
			labels = append(labels, fmt.Sprintf("%s: %s, %s %s", r.Case, side, Number(s.Median), f))
			if err := whiskers(p, y, func(v float64) float64 { return v / dearest }, s, outcomeColors[judge.Met]); err != nil {
				return nil, err
			}
		}
	}
	p.X.Min, p.X.Max = 0, most*1.02
	return rows(p, labels)
}

// rows gives each height its label and draws the plot as high as they need.
func rows(p *plot.Plot, labels []string) ([]byte, error) {
	ticks := make([]plot.Tick, len(labels))
	for i, l := range labels {
		ticks[i] = plot.Tick{Value: -float64(i), Label: l}
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Tick.Length, p.Y.LineStyle.Width = 0, 0
	p.Y.Min, p.Y.Max = -float64(len(labels)), 1
	p.Add(plotter.NewGrid())
	canvas := vgsvg.New(plotWidth, margins+rowHeight*vg.Length(len(labels)))
	p.Draw(draw.NewCanvas(canvas, plotWidth, margins+rowHeight*vg.Length(len(labels))))
	var out bytes.Buffer
	_, err := canvas.WriteTo(&out)
	return out.Bytes(), err
}
