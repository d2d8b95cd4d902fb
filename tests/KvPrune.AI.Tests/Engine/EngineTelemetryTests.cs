using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace KvPrune.AI.Tests.Engine;

public class EngineTelemetryTests
{
    [Fact]
    public async Task An_answer_is_measured_and_traced_below_the_callers_span()
    {
        string model = Guid.NewGuid().ToString();
        ConcurrentBag<(string Name, double Value)> measured = [];
        using var meters = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "KvPrune.AI") listener.EnableMeasurementEvents(instrument);
            },
        };
        void Note<T>(Instrument instrument, T value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state) where T : struct
        {
            string key = instrument.Name;
            bool own = false;
            foreach ((string name, object? tag) in tags)
            {
                own |= name == "gen_ai.request.model" && (string?)tag == model;
                if (name is "state" or "kvprune.cached") key += $" {tag}";
            }
            if (own) measured.Add((key, Convert.ToDouble(value, System.Globalization.CultureInfo.InvariantCulture)));
        }
        meters.SetMeasurementEventCallback<double>(Note);
        meters.SetMeasurementEventCallback<long>(Note);
        meters.SetMeasurementEventCallback<int>(Note);
        meters.Start();

        using var caller = new Activity("caller").Start();
        ConcurrentBag<Activity> spans = [];
        using var tracer = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "KvPrune.AI",
            Sample = (ref ActivityCreationOptions<ActivityContext> options) =>
                options.Parent.TraceId == caller.TraceId ? ActivitySamplingResult.AllData : ActivitySamplingResult.None,
            ActivityStopped = activity => { if (activity.TraceId == caller.TraceId) spans.Add(activity); },
        };
        ActivitySource.AddActivityListener(tracer);

        int[] prompt = ToyEngine.PromptAnswering(10, promptTokens: 20);
        using (var engine = new ToyEngine(new ToyRuntime(), cachedPrompts: 1, modelId: model))
        {
            await engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 10));
            await engine.AskAsync(ToyEngine.Request(prompt, maxTokens: 10));
            meters.RecordObservableInstruments();
        }
        double Sum(string name) => measured.Where(m => m.Name == name).Sum(m => m.Value);
        Assert.Equal((20, 20), (Sum("kvprune.prompt.tokens True"), Sum("kvprune.prompt.tokens False")));
        Assert.Equal(2, measured.Count(m => m.Name == "gen_ai.server.request.duration"));
        Assert.Equal(2, measured.Count(m => m.Name == "gen_ai.server.time_to_first_token"));
        Assert.Equal(2, measured.Count(m => m.Name == "gen_ai.server.time_per_output_token"));
        Assert.Equal(20 * ToyRuntime.TokenBytes, Sum("kvprune.kv.size sealed"));
        Assert.Equal(0, Sum("kvprune.requests running"));
        Assert.Equal(["decode", "decode", "prefill", "prefill", "queue", "queue"], spans.Select(span => span.OperationName).Order());
        Assert.All(spans, span => Assert.Equal(caller.SpanId, span.ParentSpanId));
    }
}
