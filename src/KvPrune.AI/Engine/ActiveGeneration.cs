using System.Diagnostics;
using KvPrune.AI.Runtimes;
using KvPrune.AI.Sampling;
using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>An admitted request: its sequence and how far it has come. Belongs to the scheduler's thread.</summary>
internal sealed class ActiveGeneration : IDisposable
{
    private readonly ITokenSampler _sampler;
    private readonly LogitAdjustments _adjustments;
    private bool _documentIsSealed; // or there is none

    public ActiveGeneration(
        GenerationRequest request, IDecoderSequence sequence, int cachedTokens, int maxOutputTokens, long peakBytes,
        DeferredDocument? document)
    {
        Request = request;
        Document = document;
        _documentIsSealed = document is null || cachedTokens > 0;
        Sequence = sequence;
        CachedTokens = cachedTokens;
        Position = cachedTokens;
        MaxOutputTokens = maxOutputTokens;
        PeakBytes = peakBytes;
        _adjustments = new LogitAdjustments(request.Sampling, request.Prompt);
        _sampler = request.Guided is { } guided ? guided : new TokenSampler(request.Sampling);
    }

    public GenerationRequest Request { get; }

    public IDecoderSequence Sequence { get; private set; }

    /// <summary>The first segment, if it is compressed only after all of it was read.</summary>
    public DeferredDocument? Document { get; }

    public int CachedTokens { get; }

    /// <summary>The most tokens to draw, within the model's context.</summary>
    public int MaxOutputTokens { get; }

    /// <summary>The most bytes the sequence will take.</summary>
    public long PeakBytes { get; }

    /// <summary>Tokens in the KV cache.</summary>
    public int Position { get; private set; }

    public int GeneratedTokens { get; private set; }

    /// <summary>The token drawn last; the next decode step feeds it.</summary>
    public int PendingToken { get; private set; }

    public long AdmittedAt { get; } = Stopwatch.GetTimestamp();

    /// <summary>Set by the first <see cref="Draw"/>.</summary>
    public long FirstTokenAt { get; private set; }

    /// <summary>The document was read and is not compressed yet.</summary>
    public bool HoldsDocument => !_documentIsSealed && Position >= Document!.Tokens;

    public bool IsPromptRead => Position >= Request.Prompt.Length && _documentIsSealed;

    public PrefillProgress Progress
    {
        get
        {
            int toRepeat = Document?.TokensToRepeat ?? 0;
            int repeated = _documentIsSealed ? toRepeat : Document!.RepeatedTokens;
            return new PrefillProgress(Position + repeated, Request.Prompt.Length + toRepeat);
        }
    }

    /// <summary>Bytes that the sequence may still come to take.</summary>
    public long GrowthBytes => Math.Max(0, PeakBytes - Sequence.GetInfo().TotalBytes);

    /// <summary>Ends of the segments read so far when a segment has just been completed and compressed.</summary>
    public bool IsAtSegmentEnd(out ReadOnlySpan<int> ends)
    {
        int index = _documentIsSealed ? Array.BinarySearch(Request.SegmentEnds, Position) : -1;
        ends = index < 0 ? default : Request.SegmentEnds.AsSpan(0, index + 1);
        return index >= 0;
    }

    /// <summary>
    /// The next tokens to read: at most a chunk, never beyond the segment's end. Opens the segment. A step that failed
    /// while it compressed a segment has dropped it whole; reading then begins at its start again.
    /// </summary>
    public ReadOnlySpan<int> NextChunk(int chunkTokens)
    {
        KvSequenceInfo info = Sequence.GetInfo();
        Position = (int)info.Length;
        int end = Array.Find(Request.SegmentEnds, end => end > Position);
        if (info.OpenSegmentTokens == 0)
        {
            if (_documentIsSealed) Sequence.OpenSegment(end - Position);
            else Sequence.OpenDeferredSegment(end - Position, Document!.ProbeTokens);
        }
        return Request.Prompt.AsSpan(Position, Math.Min(chunkTokens, end - Position));
    }

    public void AdvancePrompt(int tokens) => Position += tokens;

    /// <summary>Goes on with a sequence in which the document is compressed. The old one is lost only when that succeeds.</summary>
    public void SealDocument()
    {
        IDecoderSequence dense = Sequence;
        Sequence = dense.Seal();
        _documentIsSealed = true;
        dense.Dispose();
    }

    public void AdvanceDecode() => Position++;

    public void Draw(ReadOnlySpan<float> logits)
    {
        PendingToken = _sampler.Sample(_adjustments.Apply(logits));
        _adjustments.Add(PendingToken);
        if (GeneratedTokens++ == 0) FirstTokenAt = Stopwatch.GetTimestamp();
    }

    /// <summary>What the answer took; once its first token was drawn.</summary>
    public GenerationStatistics Statistics(KvModelShape shape)
    {
        long now = Stopwatch.GetTimestamp();
        return new GenerationStatistics
        {
            PromptTokens = Request.Prompt.Length,
            CachedTokens = CachedTokens,
            GeneratedTokens = GeneratedTokens,
            Queued = Stopwatch.GetElapsedTime(Request.SubmittedAt, AdmittedAt),
            Prefill = Stopwatch.GetElapsedTime(AdmittedAt, FirstTokenAt),
            Decode = Stopwatch.GetElapsedTime(FirstTokenAt, now),
            KvBytes = Sequence.GetInfo().TotalBytes,
            KvBytesDense16 = shape.DenseBytes(Position),
        };
    }

    public void Dispose() => Sequence.Dispose();
}
