/** What a reader has around the files of docs/frameworks.md: the rest of an app, and what the framework builds it with. */
import { join } from 'node:path';
import { documentedFiles } from '../support/documented-app.ts';
import { readPage } from '../support/markdown.ts';

export interface AppAround {
  /** The sections of the page whose files it needs, as folders. */
  readonly sections: readonly string[];
  /** Its own files, below the folder of the first section. */
  readonly files: Readonly<Record<string, string>>;
  /** What Node runs to build it. */
  readonly tool: readonly string[];
  /** Where the build goes. */
  readonly output: string;
  /** What it needs besides the policy as it comes. */
  readonly csp?: Readonly<Record<string, string[]>>;
}

const packages = join(import.meta.dirname, 'node_modules');
const vite = [join(packages, 'vite/bin/vite.js'), 'build'];
const page = (script: string) => `<!doctype html><title>Shop</title><div id="app"></div>${script}`;
const viteConfig = (line: string, plugin: string) => `${line}\nexport default { plugins: [${plugin}] };`;

/** A file of another section, for an import: those without a name of their own have changing ones. */
function documentedAt(declaration: string): string {
  const { path } = documentedFiles().find(({ code }) => code.includes(declaration)) ?? {};
  if (path === undefined) throw new Error(`docs/frameworks.md does not show "${declaration}"`);
  return `../../${path}`;
}

const vue: AppAround = {
  sections: ['vue'],
  tool: vite,
  output: 'dist',
  files: {
    'vite.config.ts': viteConfig(`import vue from '@vitejs/plugin-vue';`, 'vue()'),
    'index.html': page('<script type="module" src="/src/main.ts"></script>'),
    'src/app.vue': `
      <script setup lang="ts">
      import Account from './account.vue';
      </script>
      <template><Account /><RouterLink to="/orders">Orders</RouterLink><RouterView /></template>`,
    'src/main.ts': `
      import { createApp, h } from 'vue';
      import { createRouter, createWebHistory } from 'vue-router';
      import App from './app.vue';
      import { guard } from './router.ts';
      const router = createRouter({
        history: createWebHistory(),
        routes: [
          { path: '/', component: { render: () => h('h1', 'Home') } },
          { path: '/orders', component: { render: () => h('h1', 'Orders') }, meta: { requiresLogin: true } },
        ],
      });
      guard(router);
      createApp(App).use(router).mount('#app');`,
  },
};

/** The sources that docs/deployment.md names for SvelteKit. */
function svelteKitSources(): string[] {
  const [, sources] = /^\| SvelteKit +\| `([^`]+)` in `style-src-attr`/m.exec(readPage('docs/deployment.md')) ?? [];
  if (sources === undefined) throw new Error('docs/deployment.md does not say what SvelteKit needs');
  return sources.split(' ');
}

/** SvelteKit, because its layout is among the files. */
const svelte: AppAround = {
  sections: ['svelte'],
  tool: vite,
  output: 'build',
  csp: { 'style-src-attr': svelteKitSources() },
  files: {
    'package.json': '{ "private": true, "type": "module" }',
    'vite.config.ts': viteConfig(`import { sveltekit } from '@sveltejs/kit/vite';`, 'sveltekit()'),
    'svelte.config.js': `
      import adapter from '@sveltejs/adapter-static';
      export default { kit: { adapter: adapter({ fallback: 'index.html' }) } };`,
    'src/app.html': `<!doctype html><head><title>Shop</title>%sveltekit.head%</head><body>%sveltekit.body%</body>`,
    'src/routes/+layout.svelte': `
      <script lang="ts">
        import Account from '../account.svelte';
        let { children } = $props();
      </script>
      <Account /><a href="/orders">Orders</a>
      {@render children()}`,
    'src/routes/+page.svelte': '<h1>Home</h1>',
    'src/routes/(signed-in)/orders/+page.svelte': `
      <script lang="ts">
        let { data } = $props();
      </script>
      <h1>Orders of {data.session.user.name}</h1>`,
  },
};

const angular: AppAround = {
  sections: ['angular'],
  tool: [join(packages, '@angular/cli/bin/ng.js'), 'build'],
  output: 'dist/browser',
  files: {
    'angular.json': JSON.stringify({
      version: 1,
      cli: { analytics: false, cache: { enabled: false }, packageManager: 'npm' },
      projects: {
        shop: {
          projectType: 'application',
          root: '',
          sourceRoot: 'src',
          architect: {
            build: {
              builder: '@angular/build:application',
              options: { browser: 'src/main.ts', tsConfig: 'tsconfig.json', outputPath: 'dist' },
            },
          },
        },
      },
    }),
    'tsconfig.json': JSON.stringify({
      compilerOptions: {
        strict: true,
        skipLibCheck: true,
        isolatedModules: true,
        experimentalDecorators: true,
        importHelpers: true,
        target: 'ES2022',
        module: 'preserve',
        types: [],
      },
      include: ['src/**/*.ts'],
    }),
    'src/index.html':
      '<!doctype html><html><head><title>Shop</title><base href="/" /></head><body><app-root></app-root></body></html>',
    'src/main.ts': `
      import { HttpClient, provideHttpClient, withInterceptors } from '@angular/common/http';
      import { Component, inject, signal } from '@angular/core';
      import { bootstrapApplication } from '@angular/platform-browser';
      import { provideRouter, RouterLink, RouterOutlet } from '@angular/router';
      import { Account } from './app/account';
      import { requireLogin, signInAgain } from './app/session';

      @Component({ selector: 'app-home', template: '<h1>Home</h1>' })
      class Home {}

      @Component({
        selector: 'app-orders',
        template: '<h1>Orders</h1><button (click)="load()">Load</button> <output>{{ shown() }}</output>',
      })
      class Orders {
        readonly #http = inject(HttpClient);
        protected readonly shown = signal('nothing yet');
        protected load(): void {
          this.#http.get<{ path: string }>('/api/orders').subscribe({
            next: () => this.shown.set('loaded'),
            error: () => this.shown.set('failed'),
          });
        }
      }

      @Component({
        selector: 'app-root',
        imports: [Account, RouterLink, RouterOutlet],
        template: '<app-account /><a routerLink="/orders">Orders</a><router-outlet />',
      })
      class App {}

      void bootstrapApplication(App, {
        providers: [
          provideHttpClient(withInterceptors([signInAgain])),
          provideRouter([
            { path: '', component: Home },
            { path: 'orders', component: Orders, canActivate: [requireLogin] },
          ]),
        ],
      });`,
  },
};

/** With the header of the section on React, because the section shows a guard alone, and with the queries. */
const tanstack: AppAround = {
  sections: ['tanstack-router', 'tanstack-query', 'react'],
  tool: vite,
  output: 'dist',
  files: {
    'vite.config.ts': viteConfig(`import react from '@vitejs/plugin-react';`, 'react()'),
    'index.html': page('<script type="module" src="/src/main.tsx"></script>'),
    'src/main.tsx': `
      import { QueryClientProvider } from '@tanstack/react-query';
      import { RouterProvider } from '@tanstack/react-router';
      import { createRoot } from 'react-dom/client';
      import { SignedIn } from 'sallyport/react';
      import { Header } from '${documentedAt('export function Header(')}';
      import { forgetOtherPeople, queryClient, useOrders } from '${documentedAt('export function useOrders(')}';
      import { router } from '${documentedAt('export const router = createRouter(')}';

      forgetOtherPeople();
      function Count() {
        const { data } = useOrders();
        return <output>{data === undefined ? 'nothing yet' : data.map(({ id }) => id).join()}</output>;
      }
      Object.assign(window, { kept: () => queryClient.getQueryCache().getAll().length });
      createRoot(document.querySelector('#app')!).render(
        <QueryClientProvider client={queryClient}>
          <Header />
          <SignedIn><Count /></SignedIn>
          <a href="/orders" onClick={(event) => { event.preventDefault(); void router.navigate({ to: '/orders' }); }}>
            Orders
          </a>
          <RouterProvider router={router} />
        </QueryClientProvider>,
      );`,
  },
};

export const appsAround = { vue, svelte, angular, tanstack };
