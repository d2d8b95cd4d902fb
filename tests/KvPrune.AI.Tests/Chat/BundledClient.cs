using KvPrune.AI.Chat;

[assembly: AssemblyFixture(typeof(KvPrune.AI.Tests.Chat.BundledClient))]

namespace KvPrune.AI.Tests.Chat;

/// <summary>One client over the bundled model for all tests that need nothing special, so that it is loaded once.</summary>
public sealed class BundledClient : IDisposable
{
    private readonly Lazy<KvPrunedChatClient> _client = new(() => Load());

    public KvPrunedChatClient Client => _client.Value;

    public static KvPrunedChatClient Load(Action<KvPruneOptions>? configure = null)
    {
        var options = new KvPruneOptions { ModelPath = BundledModel.Folder, Threads = 1 };
        configure?.Invoke(options);
        return new KvPrunedChatClient(options);
    }

    public void Dispose()
    {
        if (_client.IsValueCreated) _client.Value.Dispose();
    }
}
