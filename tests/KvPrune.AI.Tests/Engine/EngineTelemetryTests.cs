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

    [Fact]
    public async Task Requests_without_an_answer_are_measured_with_the_reason()
    {
        string model = Guid.NewGuid().ToString();
        ConcurrentBag<string> errors = [];
        using var meters = Listen(model, "gen_ai.server.request.duration", tags =>
        {
            foreach ((string name, object? tag) in tags)
            {
                if (name == "error.type") errors.Add((string)tag!);
            }
        });
        var runtime = new ToyRuntime { ByteLimit = 20 * ToyRuntime.StagedTokenBytes };
        using var release = new ManualResetEventSlim();
        runtime.OnStep = step =>
        {
            release.Wait(TimeSpan.FromSeconds(20));
            if (step.Sequences[0].Tokens.Count == 0 && step.Tokens[0] == 9) throw new NotSupportedException();
        };
        using (var engine = new ToyEngine(runtime, modelId: model))
        {
            using var cancellation = new CancellationTokenSource();
            Task<ToyEngine.Answer> failing = engine.AskAsync(ToyEngine.Request([.. Enumerable.Range(9, 15)]));
            Task<ToyEngine.Answer> queued = engine.AskAsync(ToyEngine.Request([.. Enumerable.Range(2, 15)], cancellation: cancellation.Token));
            await cancellation.CancelAsync();
            release.Set();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => queued);
            await Assert.ThrowsAsync<KvPrune.AI.Engine.GenerationException>(() => failing);
            runtime.OnStep = step => step.Cancellation.WaitHandle.WaitOne(TimeSpan.FromSeconds(20));
            Task<ToyEngine.Answer> unfinished = engine.AskAsync(ToyEngine.Request([1, 2]));
            engine.Engine.Dispose();
            await Assert.ThrowsAsync<ObjectDisposedException>(() => unfinished);
        }
        Assert.Equal(
            ["System.NotSupportedException", "System.ObjectDisposedException", "System.OperationCanceledException"], errors.Order());
    }

    [Fact]
    public async Task Listeners_that_throw_fail_no_request()
    {
        string model = Guid.NewGuid().ToString();
        int calls = 0;
        using var meters = Listen(model, null, _ =>
        {
            Interlocked.Increment(ref calls);
            throw new InvalidOperationException("The collector is full.");
        });
        using var caller = new Activity("caller").Start();
        using var tracer = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "KvPrune.AI",
            Sample = (ref ActivityCreationOptions<ActivityContext> options) =>
                options.Parent.TraceId == caller.TraceId ? ActivitySamplingResult.AllData : ActivitySamplingResult.None,
            ActivityStopped = activity =>
            {
                if (activity.TraceId == caller.TraceId) throw new InvalidOperationException("The exporter is full.");
            },
        };
        ActivitySource.AddActivityListener(tracer);
        using var engine = new ToyEngine(new ToyRuntime(), modelId: model);
        for (int i = 1; i < 4; i++)
        {
            var request = ToyEngine.Request([i, 2, 3]);
            Assert.Equal(ToyEngine.Expected(request), (await engine.AskAsync(request)).Text);
        }
        Assert.True(calls > 3);
    }

    [Fact]
    public async Task Spans_of_a_request_without_a_caller_have_no_parent()
    {
        using var loader = new Activity("loader").Start();
        const int promptTokens = 997; // as no other test has: spans of all engines are seen
        ConcurrentBag<Activity> spans = [];
        using var tracer = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "KvPrune.AI",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllData,
            ActivityStopped = activity =>
            {
                if (activity.GetTagItem("kvprune.prompt.tokens") is promptTokens) spans.Add(activity);
            },
        };
        ActivitySource.AddActivityListener(tracer);
        using var engine = new ToyEngine(new ToyRuntime());
        Activity.Current = null;
        await engine.AskAsync(ToyEngine.Request(ToyEngine.PromptAnswering(5, promptTokens), maxTokens: 5));
        Assert.True(SpinWait.SpinUntil(() => spans.Count >= 3, TimeSpan.FromSeconds(20))); // they stop after the answer has ended
        Assert.Equal(3, spans.Count);
        Assert.All(spans, span => Assert.Equal(default, span.ParentSpanId));
    }

    /// <summary>Listens to the measurements of one model.</summary>
    private static MeterListener Listen(string model, string? instrumentName, TagReader read)
    {
        var meters = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == "KvPrune.AI" && instrument.Name == (instrumentName ?? instrument.Name))
                    listener.EnableMeasurementEvents(instrument);
            },
        };
        void Note<T>(Instrument instrument, T value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state) where T : struct
        {
            foreach ((string name, object? tag) in tags)
            {
                if (name != "gen_ai.request.model" || (string?)tag != model) continue;
                read(tags);
                return;
            }
        }
        meters.SetMeasurementEventCallback<double>(Note);
        meters.SetMeasurementEventCallback<long>(Note);
        meters.Start();
        return meters;
    }

    private delegate void TagReader(ReadOnlySpan<KeyValuePair<string, object?>> tags);
}
