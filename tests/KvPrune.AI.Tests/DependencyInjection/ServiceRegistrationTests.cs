using KvPrune.AI.Chat;
using KvPrune.AI.Engine;
using KvPrune.OnnxOps;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace KvPrune.AI.Tests.DependencyInjection;

public sealed class ServiceRegistrationTests
{
    [Fact]
    public async Task A_registered_client_answers()
    {
        var services = new ServiceCollection();
        services.AddKvPrunedChatClient(Configure).UseFunctionInvocation();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var client = provider.GetRequiredService<IChatClient>();
        Assert.Same(client, provider.GetRequiredService<IChatClient>());
        Assert.NotEmpty((await client.GetResponseAsync("The rain had", new() { MaxOutputTokens = 3 })).Text);
    }

    [Fact]
    public async Task Clients_of_one_registration_share_an_engine_and_those_of_two_do_not()
    {
        var services = new ServiceCollection();
        services.AddKvPrunedChatClient(Configure, ServiceLifetime.Transient);
        services.AddKeyedKvPrunedChatClient("second", o => { Configure(o); o.ModelId = "second"; });
        services.AddKeyedKvPrunedChatClient(7, Configure);
        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient first = provider.GetRequiredService<IChatClient>(), again = provider.GetRequiredService<IChatClient>();
        Assert.NotSame(first, again);
        Assert.Same(first.GetService<InferenceEngine>(), again.GetService<InferenceEngine>());
        first.Dispose(); // does not take the shared model away
        Assert.NotEmpty((await again.GetResponseAsync("The rain had", new() { MaxOutputTokens = 3 })).Text);

        IChatClient keyed = provider.GetRequiredKeyedService<IChatClient>("second");
        Assert.NotSame(again.GetService<InferenceEngine>(), keyed.GetService<InferenceEngine>());
        Assert.NotSame(provider.GetRequiredKeyedService<IChatClient>(7).GetService<InferenceEngine>(), keyed.GetService<InferenceEngine>());
        Assert.Equal("second", (await keyed.GetResponseAsync("The rain had", new() { MaxOutputTokens = 3 })).ModelId);
    }

    [Fact]
    public async Task The_provider_unloads_the_model()
    {
        var services = new ServiceCollection();
        services.AddKvPrunedChatClient(Configure);
        ServiceProvider provider = services.BuildServiceProvider();
        var engine = provider.GetRequiredService<IChatClient>().GetService<InferenceEngine>()!;
        await provider.DisposeAsync();
        Assert.Throws<ObjectDisposedException>(() => engine.GetCacheStatistics());
    }

    [Fact]
    public void Wrong_options_are_all_named_at_start_and_at_first_use()
    {
        var services = new ServiceCollection();
        services.AddKvPrunedChatClient(options =>
        {
            options.ModelPath = "/no/such/folder";
            options.Policy = new PruningPolicy { KeyChannelSparsity = 1 };
            options.PrefillChunkTokens = 0;
            options.KvCacheByteLimit = -1;
            options.MaxOutputTokens = 0;
            options.Threads = 0;
            options.MaxCachedPrompts = -1;
        });
        using ServiceProvider provider = services.BuildServiceProvider();
        string[] expected =
        [
            "/no/such/folder", "KeyChannelSparsity", "PrefillChunkTokens", "KvCacheByteLimit", "MaxOutputTokens", "Threads",
            "MaxCachedPrompts",
        ];
#pragma warning disable SYSLIB0066 // It is what a host of .NET 10 calls at its start.
        var atStart = Assert.Throws<OptionsValidationException>(() => provider.GetRequiredService<IStartupValidator>().Validate());
#pragma warning restore SYSLIB0066
        Assert.All(expected, name => Assert.Contains(name, atStart.Message, StringComparison.Ordinal));
        var atFirstUse = Assert.Throws<OptionsValidationException>(() => provider.GetRequiredService<IChatClient>());
        Assert.All(expected, name => Assert.Contains(name, atFirstUse.Message, StringComparison.Ordinal));

        var direct = Assert.Throws<ArgumentException>(() => new KvPrunedChatClient(new KvPruneOptions { Threads = 0 }));
        Assert.Contains("ModelPath", direct.Message, StringComparison.Ordinal);
        Assert.Contains("Threads", direct.Message, StringComparison.Ordinal);
    }

    private static void Configure(KvPruneOptions options)
    {
        options.ModelPath = BundledModel.Folder;
        options.Threads = 1;
    }
}
