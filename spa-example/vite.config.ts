import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  plugins: [react()],
  // In this repository the package is its sources.
  resolve: {
    alias: {
      'sallyport/browser/reconnecting': fileURLToPath(new URL('../src/browser/reconnecting.ts', import.meta.url)),
      'sallyport/browser': fileURLToPath(new URL('../src/browser/index.ts', import.meta.url)),
      'sallyport/react': fileURLToPath(new URL('../src/browser/react.tsx', import.meta.url)),
    },
  },
  build: {
    // The content security policy allows data: URLs for images and fonts only, so every asset stays a file.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        // Browsers show plain text, but download Markdown.
        assetFileNames: ({ names }) => (names.includes('README.md') ? 'tutorial.txt' : 'assets/[name]-[hash][extname]'),
      },
    },
  },
  server: { port: 5173, strictPort: true },
});
