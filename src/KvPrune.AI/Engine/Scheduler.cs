using System.Threading.Channels;
using KvPrune.AI.Runtimes;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace KvPrune.AI.Engine;

/// <summary>
/// The loop that runs a model for all requests, on its own thread. Each step is a prefill chunk of one sequence or one
/// decode batch over all sequences whose prompt was read; the two alternate. Prompts are read one after the other, oldest
/// first, so that only one at a time holds uncompressed rows.
/// </summary>
internal sealed class Scheduler : IDisposable
{
    private readonly IDecoderRuntime _runtime;
    private readonly EngineSettings _settings;
    private readonly EngineTelemetry _telemetry;
    private readonly QuietLogger _logger;
    private readonly Admission _admission;
    private readonly PrefixCache _cache;
    private readonly DecodeBatch _batch;
    private readonly Channel<GenerationRequest> _incoming = Channel.CreateUnbounded<GenerationRequest>(
        new UnboundedChannelOptions { SingleReader = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly Thread _thread;

    private readonly Queue<GenerationRequest> _waiting = new();
    private readonly List<ActiveGeneration> _prefilling = []; // oldest first
    private readonly List<ActiveGeneration> _decoding = [];
    private readonly HashSet<ActiveGeneration> _running = []; // the two above
    private readonly float[] _logits; // of the prompt that is read
    private readonly float[] _probeLogits;
    private bool _prefilledLast;
    private int _unfinished;
    private int _runningCount;
    private volatile Exception? _failure;

    public Scheduler(IDecoderRuntime runtime, EngineSettings settings, EngineTelemetry telemetry, QuietLogger logger)
    {
        _runtime = runtime;
        _settings = settings;
        _telemetry = telemetry;
        _logger = logger;
        _cache = new PrefixCache(settings.MaxCachedPrompts);
        _admission = new Admission(runtime, _cache, settings);
        _batch = new DecodeBatch(runtime);
        _logits = new float[runtime.VocabularySize];
        _probeLogits = new float[runtime.VocabularySize];
        _thread = new Thread(Run) { IsBackground = true, Name = "KvPrune engine" };
        // Not Start: the thread outlives the activity and the other ambient values of whoever loads the model.
        _thread.UnsafeStart();
    }

    /// <summary>Hands a request to the loop. Its events tell the rest.</summary>
    /// <exception cref="PromptTooLongException">The prompt leaves no room for an answer, or its document for the repetition.</exception>
    /// <exception cref="KvBudgetExceededException">The request can never fit into the memory limit.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    /// <exception cref="GenerationException">The engine stopped after an internal error.</exception>
    public void Submit(GenerationRequest request)
    {
        request.Sampling.Validate();
        _admission.PeakBytes(request, _admission.OutputTokens(request));
        Interlocked.Increment(ref _unfinished);
        if (!_incoming.Writer.TryWrite(request))
        {
            Interlocked.Decrement(ref _unfinished);
            throw Closing();
        }
    }

    /// <summary>Requests being computed.</summary>
    public int RunningRequests => Volatile.Read(ref _runningCount);

    /// <summary>Requests waiting to be admitted.</summary>
    public int QueuedRequests => Math.Max(0, Volatile.Read(ref _unfinished) - RunningRequests);

    /// <summary>Stops the step in progress, fails every unfinished request and waits for the loop to end.</summary>
    public void Dispose()
    {
        _incoming.Writer.TryComplete();
        _stop.Cancel();
        _thread.Join();
        _stop.Dispose();
    }

    private void Run()
    {
        try
        {
            while (Receive())
            {
                DropCancelled();
                Admit();
                Step();
            }
        }
        catch (Exception error)
        {
            _failure = error;
            Log.LoopFailed(_logger, error);
        }
        _incoming.Writer.TryComplete();
        foreach (ActiveGeneration generation in _running.ToArray()) End(generation, Closing());
        foreach (GenerationRequest request in _waiting.Concat(Drain())) End(request, Closing());
        _cache.Clear();
    }

    private Exception Closing() => _failure is { } failure
        ? new GenerationException("The engine stopped after an internal error.", failure)
        : new ObjectDisposedException(nameof(InferenceEngine));

    private IEnumerable<GenerationRequest> Drain()
    {
        while (_incoming.Reader.TryRead(out GenerationRequest? request)) yield return request;
    }

    /// <summary>Takes in new requests, waiting for one when there is nothing to do. False: the engine closes.</summary>
    private bool Receive()
    {
        bool idle = _running.Count == 0 && _waiting.Count == 0;
        if (idle && !_incoming.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult()) return false;
        foreach (GenerationRequest request in Drain()) _waiting.Enqueue(request);
        return !_stop.IsCancellationRequested;
    }

    private void DropCancelled()
    {
        foreach (ActiveGeneration generation in _running.Where(g => g.Request.Cancellation.IsCancellationRequested).ToArray())
            End(generation, new OperationCanceledException(generation.Request.Cancellation));
        for (int left = _waiting.Count; left > 0; left--)
        {
            GenerationRequest request = _waiting.Dequeue();
            if (request.Cancellation.IsCancellationRequested)
                End(request, new OperationCanceledException(request.Cancellation));
            else
                _waiting.Enqueue(request);
        }
    }

    /// <summary>Starts waiting requests in their order, so that a large one is never overtaken for good.</summary>
    private void Admit()
    {
        while (_waiting.TryPeek(out GenerationRequest? request))
        {
            try
            {
                if (!TryStart(request)) return;
                _waiting.Dequeue();
            }
            catch (Exception error)
            {
                _waiting.Dequeue();
                End(request, AsFailure($"A request could not be started: {error.Message}", error));
                Log.RequestFailed(_logger, "could not be started", error);
            }
        }
    }

    /// <summary>False: the request has to wait for memory.</summary>
    private bool TryStart(GenerationRequest request)
    {
        int outputTokens = _admission.OutputTokens(request);
        long peakBytes = _admission.PeakBytes(request, outputTokens);
        CachedPrompt? hit = _cache.Find(request);
        if (!_admission.TryMakeRoom(peakBytes, _running, ref hit)) return false;
        IDecoderSequence sequence = hit?.Sequence.Fork() ?? _runtime.CreateSequence(request.Policy);
        var generation = new ActiveGeneration(request, sequence, hit?.Tokens.Length ?? 0, outputTokens, peakBytes, DeferredDocument.Of(request, _settings));
        _telemetry.Admitted(generation);
        _running.Add(generation);
        _runningCount = _running.Count;
        if (hit is not null) Post(generation, ReadSoFar(generation));
        if (generation.IsPromptRead) ContinueOrFail(generation, hit!.Logits);
        else _prefilling.Add(generation);
        return true;
    }

    private void Step()
    {
        bool prefill = _prefilling.Count > 0 && (_decoding.Count == 0 || !_prefilledLast);
        _prefilledLast = prefill;
        if (prefill) Prefill(_prefilling[0]);
        else if (_decoding.Count > 0) Decode();
    }

    private void Prefill(ActiveGeneration generation)
    {
        GenerationRequest request = generation.Request;
        using var cancellation = CancellationTokenSource.CreateLinkedTokenSource(request.Cancellation, _stop.Token);
        try
        {
            WithMemory(() => ReadNext(generation, cancellation.Token));
            Post(generation, ReadSoFar(generation));
            Remember(generation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            End(generation, request.Cancellation.IsCancellationRequested
                ? new OperationCanceledException(request.Cancellation) : Closing());
            return;
        }
        catch (Exception error)
        {
            Fail(generation, $"failed after {generation.Position} of {request.Prompt.Length} prompt tokens", error);
            return;
        }
        if (!generation.IsPromptRead) return;
        _prefilling.Remove(generation);
        ContinueOrFail(generation, _logits);
    }

    /// <summary>Runs the next chunk of the prompt, or of a document's repetition, and compresses the document after its last.</summary>
    private void ReadNext(ActiveGeneration generation, CancellationToken cancellation)
    {
        if (!generation.HoldsDocument)
        {
            ReadOnlySpan<int> chunk = generation.NextChunk(_settings.PrefillChunkTokens);
            _runtime.Prefill(generation.Sequence, chunk, _logits, cancellation);
            generation.AdvancePrompt(chunk.Length);
        }
        else if (!generation.Document!.IsRepeated)
        {
            // The answer may begin at the document's end, so the logits there are kept.
            _runtime.Probe(generation.Sequence, generation.Document.NextProbe(), _probeLogits, cancellation);
            generation.Document.Advance();
        }
        if (generation.HoldsDocument && generation.Document!.IsRepeated) generation.SealDocument();
    }

    /// <summary>Keeps a fork at a segment's end for later prompts that begin alike.</summary>
    private void Remember(ActiveGeneration generation)
    {
        if (_settings.MaxCachedPrompts == 0 || !generation.IsAtSegmentEnd(out ReadOnlySpan<int> ends)) return;
        GenerationRequest request = generation.Request;
        ReadOnlySpan<int> tokens = request.Prompt.AsSpan(0, generation.Position);
        if (_cache.Contains(tokens, ends, request.Policy)) return;
        if (!_admission.MayFork(generation.Sequence, _running)) return;
        try
        {
            IDecoderSequence fork = generation.Sequence.Fork();
            _cache.Add(new CachedPrompt(tokens.ToArray(), ends.ToArray(), request.Policy, fork, [.. _logits]));
        }
        catch (KvCacheException error) when (error.Status == KvCacheStatus.OutOfMemory)
        {
            // Without the copy the next prompt is read again: slower, not wrong.
            Log.PromptNotKept(_logger, error);
        }
    }

    private void Decode()
    {
        foreach ((ActiveGeneration generation, Exception? error) in _batch.Run(_decoding, WithMemory))
        {
            if (error is not null) Fail(generation, $"failed at generated token {generation.GeneratedTokens}", error);
        }
        ReadOnlySpan<ActiveGeneration> stepped = _batch.Stepped;
        for (int i = 0; i < stepped.Length; i++) ContinueOrFail(stepped[i], _batch.Logits(i));
    }

    private void ContinueOrFail(ActiveGeneration generation, Span<float> logits)
    {
        try
        {
            Continue(generation, logits);
        }
        catch (Exception error)
        {
            Fail(generation, $"failed at generated token {generation.GeneratedTokens}", error);
        }
    }

    /// <summary>Draws the next token and ends the generation or leaves it for the next decode step.</summary>
    private void Continue(ActiveGeneration generation, Span<float> logits)
    {
        AnswerText text = generation.Request.Text;
        bool first = generation.GeneratedTokens == 0;
        foreach (int token in _settings.MaskedTokens) logits[token] = float.NegativeInfinity;
        generation.Draw(logits);
        if (first) _telemetry.FirstToken(generation);
        if (_settings.EndTokens.Contains(generation.PendingToken) || generation.Request.EndTokens.Contains(generation.PendingToken))
        {
            Finish(generation, ChatFinishReason.Stop);
            return;
        }
        PostText(generation, text.Append(generation.PendingToken));
        if (text.IsStopped) Finish(generation, ChatFinishReason.Stop);
        else if (generation.GeneratedTokens >= generation.MaxOutputTokens) Finish(generation, ChatFinishReason.Length);
        else if (first) _decoding.Add(generation);
    }

    private void Finish(ActiveGeneration generation, ChatFinishReason reason)
    {
        PostText(generation, generation.Request.Text.Finish());
        GenerationStatistics statistics = generation.Statistics(_runtime.Shape);
        _telemetry.Finished(generation, statistics, reason);
        Post(generation, new GenerationEvent.Finished(reason, statistics));
        End(generation, error: null);
    }

    private void Fail(ActiveGeneration generation, string what, Exception error)
    {
        End(generation, AsFailure($"A request {what}: {error.Message}", error));
        Log.RequestFailed(_logger, what, error);
    }

    private static Exception AsFailure(string message, Exception error) =>
        error is GenerationException or PromptTooLongException or KvBudgetExceededException
            ? error : new GenerationException(message, error);

    private void End(ActiveGeneration generation, Exception? error)
    {
        if (!_running.Remove(generation)) return;
        _runningCount = _running.Count;
        _decoding.Remove(generation);
        _prefilling.Remove(generation);
        try
        {
            generation.Dispose();
        }
        finally
        {
            End(generation.Request, error);
        }
    }

    private void End(GenerationRequest request, Exception? error)
    {
        Interlocked.Decrement(ref _unfinished);
        request.Guided?.Dispose();
        if (error is not null) _telemetry.Failed(request, error);
        request.Complete(error);
    }

    /// <summary>Runs a step; when memory is short, drops all cached prompts and tries once more.</summary>
    private void WithMemory(Action step)
    {
        try
        {
            step();
        }
        catch (KvCacheException error) when (error.Status == KvCacheStatus.OutOfMemory && _cache.Count > 0)
        {
            _cache.Clear();
            step();
        }
    }

    private static GenerationEvent.Prefilled ReadSoFar(ActiveGeneration generation) =>
        new(generation.Progress);

    private static void PostText(ActiveGeneration generation, string text)
    {
        if (text.Length > 0) Post(generation, new GenerationEvent.Text(text));
    }

    private static void Post(ActiveGeneration generation, GenerationEvent generationEvent) =>
        generation.Request.Post(generationEvent);
}
