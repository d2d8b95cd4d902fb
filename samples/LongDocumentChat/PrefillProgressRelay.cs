using KvPrune.AI.Engine;

namespace LongDocumentChat;

/// <summary>Passes progress on at once, on the thread-pool thread that reports it, to whoever shows it just then.</summary>
internal sealed class PrefillProgressRelay : IProgress<PrefillProgress>
{
    private volatile Action<PrefillProgress>? _report;

    public Action<PrefillProgress>? Report
    {
        set => _report = value;
    }

    void IProgress<PrefillProgress>.Report(PrefillProgress value) => _report?.Invoke(value);
}
