using KvPrune.AI.Chat;
using KvPrune.AI.Tests.Chat;

namespace KvPrune.AI.Tests.Runtimes.GenAI;

/// <summary>One client over the bundled model in the runtime GenAI; the test that asks for it is skipped without the library.</summary>
public sealed class GenAIClient : IDisposable
{
    private readonly Lazy<KvPrunedChatClient> _client = new(() => BundledClient.Load(options =>
    {
        options.Runtime = DecoderRuntimeKind.GenAI;
        options.GenAILibraryFolder = NativeGenAI.Folder;
    }));

    public KvPrunedChatClient Client
    {
        get
        {
            NativeGenAI.Require();
            return _client.Value;
        }
    }

    public void Dispose()
    {
        if (_client.IsValueCreated) _client.Value.Dispose();
    }
}
