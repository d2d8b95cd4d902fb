using KvPrune.OnnxOps;

namespace KvPrune.AI.Engine;

/// <summary>
/// The first segment of a prompt whose policy chooses tokens only once the segment's rows are there in all layers: the
/// shared document, or the prompt where there is none. KVzip (arXiv 2505.23416, section 3.2) also lets the model repeat it,
/// part by part, and keeps the tokens that get most attention then.
/// </summary>
internal sealed class DeferredDocument
{
    /// <summary>Tokens before a part that are repeated with it, so that the model finds its place.</summary>
    private const int LeadTokens = 8;

    /// <summary>Parts between these are about as good; smaller ones spend most of the pass on instructions.</summary>
    private const int MinPartTokens = 64, MaxPartTokens = 2048;

    /// <summary>Rows leave the dense tail in tiles, so a segment shorter than the recent window and one tile keeps all.</summary>
    private const int TileTokens = 64;

    private readonly ReadOnlyMemory<int> _tokens;
    private readonly int[] _instruction;
    private readonly int _partTokens; // 0: nothing is repeated

    private DeferredDocument(ReadOnlyMemory<int> tokens, int[] instruction, int partTokens)
    {
        _tokens = tokens;
        _instruction = instruction;
        _partTokens = partTokens;
    }

    /// <summary>The request's; null if its first segment is compressed as it is read, or too short to be.</summary>
    /// <exception cref="PromptTooLongException">The document leaves no room for its repetition.</exception>
    public static DeferredDocument? Of(GenerationRequest request, EngineSettings settings)
    {
        PruningPolicy policy = request.Policy;
        int tokens = request.SegmentEnds[0];
        if (!policy.NeedsDeferredSegment || tokens < policy.RecentWindow + TileTokens) return null;
        int part = 0;
        if (policy.NeedsProbes)
        {
            int extra = settings.RepeatInstruction.Length + LeadTokens;
            int wanted = Math.Min(tokens, Math.Min(settings.PrefillChunkTokens, MaxPartTokens));
            part = Math.Min(wanted, settings.ContextLength - tokens - extra);
            int least = Math.Min(wanted, MinPartTokens);
            if (part < least) throw new PromptTooLongException(tokens, settings.ContextLength, extra + least);
        }
        return new DeferredDocument(request.Prompt.AsMemory(0, tokens), settings.RepeatInstruction, part);
    }

    public int Tokens => _tokens.Length;

    /// <summary>Tokens that the model repeats.</summary>
    public int TokensToRepeat => _partTokens > 0 ? Tokens : 0;

    /// <summary>Of these, those that it has repeated.</summary>
    public int RepeatedTokens { get; private set; }

    public bool IsRepeated => RepeatedTokens == TokensToRepeat;

    /// <summary>The most tokens of one probe.</summary>
    public int ProbeTokens => _partTokens > 0 ? _instruction.Length + LeadTokens + _partTokens : 0;

    /// <summary>The next probe: the instruction and the part that is repeated.</summary>
    public int[] NextProbe()
    {
        int lead = Math.Min(LeadTokens, RepeatedTokens);
        ReadOnlyMemory<int> part = _tokens.Slice(RepeatedTokens - lead, lead + NextPartTokens);
        return [.. _instruction, .. part.Span];
    }

    /// <summary>The probe has run.</summary>
    public void Advance() => RepeatedTokens += NextPartTokens;

    private int NextPartTokens => Math.Min(_partTokens, Tokens - RepeatedTokens);
}
